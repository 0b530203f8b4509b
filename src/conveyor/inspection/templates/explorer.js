// ---- the explorer: one layer, one state, one sample ----------------------------------------

class Explorer {
  constructor(section) {
    this.section = section;
    this.find = (selector) => find(selector, section);
    this.layers = page.layers.map((data) => new Layer(data));
    this.sample = 0;
    this.unit = undefined; // its number, which stays when the rows change
    this.span = null; // the passage that the reader selected
    this.match = null; // the passage that the reader jumped to
    this.followers = [];
    this.find("picture").hidden = true;
    for (const part of ["figure .toolbar", ".legend", ".steps-through", ".card.unit", ".card.passage"]) {
      this.find(part).hidden = false;
    }
    this.find(".layers").hidden = this.layers.length === 1;
    this.find(".steps-through").hidden = page.samples.length === 1;
    this.grid = new Grid(this.find(".map"), this);
    this.axis = new TimeAxis(this);
    this.listen();
  }

  // What the grid asks for.
  get rows() { return this.layer?.rows.length ?? 0; }
  get columns() { return this.layer?.lengths[this.sample] ?? 0; }

  value(row, step) { return this.layer.value(this.name, this.sample, row, step); }

  colour(row, step) {
    const unread = this.read !== undefined && this.order(step) >= this.read;
    return unread ? null : this.paint(this.value(row, step));
  }

  tip(row, step) {
    return [
      this.layer.text(this.name, this.sample, row, step),
      `unit ${this.layer.rows[row]}`,
      this.layer.where(this.sample, step),
    ];
  }

  aloud(row, step) {
    const [number, unit, where] = this.tip(row, step);
    return `${unit}, ${where}: ${number}`;
  }

  moved(row, step) {
    this.axis.mark(step);
    this.axis.drawLine(row);
  }

  left() {
    this.axis.mark(-1);
    this.axis.drawLine(this.layer.rowOf.get(this.unit));
  }

  picked(row) { this.show({ unit: this.layer.rows[row] }); }

  walked(event, before) {
    if (event.shiftKey && /Left|Right|Home|End/.test(event.key)) this.extend(before ?? this.grid.column, this.grid.column);
    else this.anchor = undefined;
  }

  /** The place of a step in the order of reading. */
  order(step) { return this.layer.direction === "backward" ? this.columns - 1 - step : step; }

  /** Show what is asked for; the rest stays, where the layer has it. */
  async show(changes = {}) {
    clearInterval(this.clock);
    const turn = (this.turn = (this.turn ?? 0) + 1);
    root.dataset.busy = "yes";
    const wanted = { number: this.number ?? 0, name: this.name, sample: this.sample, ...changes };
    const layer = this.layers[wanted.number];
    const sample = Math.min(layer.lengths.length - 1, Math.max(0, wanted.sample));
    const has = (name) => sample < (layer.states[name]?.samples ?? 0);
    const name = has(wanted.name) ? wanted.name : layer.memory;
    await layer.load(name);
    if (turn !== this.turn) return; // the reader has asked for something else since
    if (sample !== this.sample) this.anchor = undefined;
    if (layer !== this.layer || name !== this.name) this.span = this.match = null;
    if (layer !== this.layer) this.unit = undefined;
    const stays = layer === this.layer && sample === this.sample && !find(".tip", this.grid.map).hidden;
    const cursor = stays ? [this.grid.row, this.grid.column] : null;
    Object.assign(this, { layer, name, sample, number: wanted.number, read: undefined });
    if ("span" in changes) this.span = changes.span;
    if ("match" in changes) this.match = changes.match;
    else if ("sample" in changes) this.match = null;
    this.state = layer.states[name];
    this.unit = layer.rowOf.has(changes.unit) ? changes.unit : this.unit ?? layer.rows[this.mostMovedRow()];
    this.draw();
    if (cursor) this.grid.point(...cursor);
    for (const follower of this.followers) follower.follow(this);
    delete root.dataset.busy;
    root.dataset.ready = "yes";
  }

  draw() {
    const { layer, state, name, sample } = this;
    this.paint = colours(state);
    this.grid.leave();
    this.grid.row = this.grid.column = undefined;
    this.find(`input[name=sample][value="${sample}"]`).checked = true;
    this.find(`input[name=layer][value="${this.number}"]`).checked = true;
    for (const input of all("input[name=state]", this.section)) {
      const kept = layer.states[input.value]?.samples ?? 0;
      input.checked = input.value === name;
      input.disabled = sample >= kept;
      input.parentElement.hidden = !kept;
      input.parentElement.title = input.disabled ? `left out for this sample: it is here for the first ${kept}` : "";
    }
    const backward = layer.direction === "backward" ? " This layer reads from the last step to the first." : "";
    this.find(".about").textContent = state.about + backward;
    this.drawLegend();
    const chart = this.find(".chart");
    const row = Math.max(1, Math.min(16, Math.round(420 / this.rows)));
    chart.style.setProperty("--steps", this.columns);
    chart.style.setProperty("--rows", Math.max(96, this.rows * row));
    chart.classList.toggle("dense", !layer.hasText);
    this.find(".units").textContent = plural(this.rows, "unit");
    this.find(".map").setAttribute("aria-label", `${name}: ${plural(this.rows, "unit")} over ${plural(this.columns, "time step")}`);
    this.axis.drawRuler();
    this.axis.drawBars();
    this.drawSpans();
    this.grid.draw();
    this.axis.drawLine(layer.rowOf.get(this.unit));
    const leftOut = this.find(".left-out");
    leftOut.hidden = !layer.leftOut.length;
    leftOut.textContent = `Left out to keep the page small: ${layer.leftOut.join(" ")}`;
  }

  drawLegend() {
    const { low, high, clipped, palette } = this.state;
    this.find(".legend").className = `legend ${palette}`;
    this.find(".low").textContent = (clipped ? "≤ " : "") + String(low).replace("-", "−");
    this.find(".high").textContent = (clipped ? "≥ " : "") + high;
    const { light, dark } = page.palettes;
    const stops = light[palette].map((stop, i) => `light-dark(${stop}, ${dark[palette][i]})`);
    this.find(".legend i").style.background = `linear-gradient(90deg, ${stops})`;
  }

  /** The marks of what was selected, and of the passage that was jumped to. */
  drawSpans() {
    for (const [part, span] of [[".span-mark", this.span], [".match-mark", this.match]]) {
      const mark = this.find(part);
      mark.hidden = span?.sample !== this.sample;
      if (mark.hidden) continue;
      mark.style.left = `${(100 * span.from) / this.columns}%`;
      mark.style.width = `${(100 * (span.to - span.from + 1)) / this.columns}%`;
    }
    const inside = (step) => this.span?.sample === this.sample && step >= this.span.from && step <= this.span.to;
    [...this.axis.ruler.children].forEach((item, step) => item.classList.toggle("selected", inside(step)));
  }

  mostMovedRow() {
    const moved = (row) => {
      let sum = 0;
      for (let step = 1; step < this.columns; step++) sum += Math.abs(this.value(row, step) - this.value(row, step - 1)) || 0;
      return sum;
    };
    const sums = this.layer.rows.map((_, row) => moved(row));
    return sums.indexOf(Math.max(...sums));
  }

  /** Select the steps between an anchor and here, both included. */
  extend(anchor, step) {
    this.anchor ??= anchor;
    const [from, to] = [Math.min(this.anchor, step), Math.max(this.anchor, step)];
    const same = this.span && this.span.sample === this.sample && this.span.from === from && this.span.to === to;
    if (same) return;
    this.span = { sample: this.sample, from, to };
    this.match = null;
    this.drawSpans();
    for (const follower of this.followers) follower.selected?.(this);
  }

  /** Show a passage of any sample. */
  jump(passage) {
    return this.show({ sample: passage.sample, match: passage }).then(() => {
      this.find(".scroll").scrollLeft = (this.find(".map").clientWidth * passage.from) / this.columns - 60;
      const behaviour = matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth";
      this.find(".choose-sample").parentElement.scrollIntoView({ behavior: behaviour, block: "nearest" });
      this.find("figure").scrollIntoView({ behavior: behaviour, block: "start" });
    });
  }

  /** Read the sequence again, step by step. */
  play() {
    clearInterval(this.clock);
    this.grid.leave();
    this.read = 0;
    const turn = () => {
      [...this.axis.ruler.children].forEach((item, step) => item.classList.toggle("unread", this.order(step) >= this.read));
      this.grid.draw();
      if (this.read++ >= this.columns) {
        clearInterval(this.clock);
        this.read = undefined;
      }
    };
    turn();
    this.clock = setInterval(turn, Math.max(60, Math.min(220, 6000 / this.columns)));
  }

  listen() {
    const chosen = { layer: (value) => ({ number: Number(value) }), state: (value) => ({ name: value }), sample: (value) => ({ sample: Number(value) }) };
    this.section.addEventListener("change", ({ target }) => {
      if (target.name in chosen) this.show(chosen[target.name](target.value));
    });
    this.find(".play").addEventListener("click", () => this.play());
    const go = (by) => {
      this.show({ sample: this.sample + by }).then(() => this.find("input[name=sample]:checked").parentElement.scrollIntoView({ block: "nearest" }));
    };
    this.find(".previous").addEventListener("click", () => go(-1));
    this.find(".next").addEventListener("click", () => go(1));
  }
}
