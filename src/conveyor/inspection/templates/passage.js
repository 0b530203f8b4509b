// ---- a selected passage: the units that are on in it, and where else they are ----------------

class PassagePanel {
  constructor(section) {
    this.find = (selector) => find(selector, find(".passage", section));
    this.marks = find(".marks", section); // beside the heat map
    this.find(".threshold").addEventListener("input", () => this.draw());
    this.find(".outside").addEventListener("change", () => this.draw());
    this.find(".chips").addEventListener("click", ({ target }) => {
      const unit = target.closest("[data-unit]")?.dataset.unit;
      if (unit !== undefined) this.explorer.show({ unit: Number(unit) });
    });
  }

  /** Another passage was selected: a threshold at which some units are on, but not all. */
  selected(explorer) {
    this.explorer = explorer;
    const { layer, name, span } = explorer;
    this.most = Math.max(...this.sizes());
    this.find(".threshold").value = thresholdFor(layer, name, span, this.most);
    this.draw();
  }

  sizes() {
    const { layer, name, span, state } = this.explorer;
    const sizes = [state.high];
    for (let step = span.from; step <= span.to; step++) {
      for (let row = 0; row < layer.rows.length; row++) sizes.push(Math.abs(layer.value(name, span.sample, row, step)) || 0);
    }
    return sizes;
  }

  follow(explorer) {
    this.explorer = explorer;
    if (explorer.span && this.theme !== theme()) this.draw();
    this.find(".found").hidden = !explorer.span;
    this.find(".how").hidden = Boolean(explorer.span);
    this.drawMarks(explorer.span ? this.rows : []);
  }

  draw() {
    const { layer, name, span } = this.explorer;
    this.theme = theme();
    const threshold = Number(this.find(".threshold").value) * this.most;
    const outside = this.find(".outside").checked;
    this.find(".found").hidden = false;
    this.find(".how").hidden = true;
    this.find(".what").textContent = `|${name}|`;
    this.find(".threshold-value").textContent = threshold.toFixed(2);
    const steps = span.from === span.to ? `Step ${span.from + 1}` : `Steps ${span.from + 1} to ${span.to + 1}`;
    const quote = layer.hasText ? `: “${isolated(layer.quote(span.sample, span.from, span.to))}”` : "";
    const back = make("button", { type: "button" }, "back to it");
    back.addEventListener("click", () => this.explorer.show({ sample: span.sample, match: null }));
    this.find(".passage-title").replaceChildren(make("b", {}, `${steps} of ${page.samples[span.sample]}${quote}`), " ", back);
    this.rows = rowsOn(layer, name, span, threshold, outside);
    this.find(".on-title").textContent = this.rows.length
      ? `${plural(this.rows.length, "unit")} of ${layer.rows.length} ${this.rows.length === 1 ? "is" : "are"} on all the way`
      : outside ? "No unit is on here and off around: move the threshold" : "No unit is on all the way: lower the threshold";
    this.find(".chips").replaceChildren(...this.rows.map((row) => {
      const unit = layer.rows[row];
      const chip = make("button", { type: "button", title: `unit ${unit} over all samples` }, String(unit));
      chip.dataset.unit = unit;
      return make("li", {}, chip);
    }));
    const found = this.rows.length ? similarPassages(layer, name, this.rows, span, threshold, outside) : [];
    const searched = this.explorer.state.samples;
    this.find(".matches-about").textContent =
      `Searched: ${plural(searched, "sample")}. Best first: the share of these units that are on from the first to the last step ` +
      "of a passage, less where it is longer or shorter than yours. The stronger the colour of a step, the more of them are on.";
    this.find(".matches").replaceChildren(...found.map((each) => passageRow(this.explorer, each, {
      paint: this.share(each, threshold),
      note: `${each.units} of ${plural(this.rows.length, "unit")}`,
      part: each.score,
    })));
    if (!found.length) this.find(".matches").append(make("li", { className: "hint-text" }, "None."));
    this.drawMarks(this.rows);
  }

  /** A colour for each step of a passage: how many of the units are on in it. */
  share({ sample }, threshold) {
    const { layer, name } = this.explorer;
    const paint = colours({ palette: "gate", low: 0, high: 1.4 }); // so that no text drowns
    return (step) => paint(this.rows.filter((row) => isOn(layer, name, sample, row, step, threshold)).length / this.rows.length);
  }

  /** The units that are on, as dashes beside the heat map. */
  drawMarks(rows) {
    const canvas = this.marks;
    canvas.height = this.explorer.rows;
    const pen = canvas.getContext("2d");
    pen.fillStyle = getComputedStyle(canvas).color;
    for (const row of rows) pen.fillRect(0, row, 1, 1);
  }
}
