// ---- passages as rows of coloured steps; one unit over all samples ---------------------------

const ROWS_AT_FIRST = 60;

/** One step as a coloured piece of text; without text, as a coloured cell. */
function stepMark(layer, sample, step, paint, className = "") {
  const label = layer.hasText ? layer.label(sample, step) : "";
  const mark = make("span", { className: `step ${layer.hasText ? "" : "blank"} ${className}` }, label || "\u00a0");
  mark.dataset.step = step;
  if (paint) {
    mark.style.background = `rgb(${paint})`;
    mark.style.color = inkOn(paint);
  }
  return mark;
}

/** A passage with what surrounds it, as a button that goes there. */
function passageRow(explorer, passage, { paint, around = 4, note, part }) {
  const { layer } = explorer;
  const { sample, from, to, peak } = passage;
  const first = Math.max(0, from - around);
  const last = Math.min(layer.lengths[sample] - 1, to + around);
  const words = layer.hasWords(sample);
  const steps = make("bdi", { className: `steps${words ? " words" : ""}` });
  if (first > 0) steps.append("…");
  for (let step = first; step <= last; step++) {
    const inside = step >= from && step <= to;
    const className = step === peak ? "peak" : inside ? "" : "around";
    steps.append(stepMark(layer, sample, step, inside || !layer.hasText ? paint(step) : null, className));
  }
  if (last < layer.lengths[sample] - 1) steps.append("…");
  const where = `${page.samples[sample]}, ${from === to || peak !== undefined ? `step ${(peak ?? from) + 1}` : `steps ${from + 1} to ${to + 1}`}`;
  const meter = make("i", { className: "meter" });
  meter.style.setProperty("--part", part);
  const button = make("button", { type: "button" }, steps, make("span", { className: "passage-note" }, meter, make("b", {}, note), make("bdi", {}, where)));
  button.addEventListener("click", () => explorer.jump(peak === undefined ? passage : { ...passage, from: peak, to: peak }));
  return make("li", {}, button);
}

class UnitPanel {
  constructor(section) {
    this.find = (selector) => find(selector, find(".unit", section));
    this.find(".by").addEventListener("change", () => this.draw());
    this.find(".unit-number").addEventListener("change", ({ target }) => this.choose(Number(target.value)));
    this.find(".more").addEventListener("click", () => this.drawStrips(Infinity));
    this.find(".strips").addEventListener("click", ({ target, offsetX }) => {
      const strip = target.closest("li");
      const step = target.matches("canvas")
        ? Math.floor((offsetX / target.clientWidth) * target.width)
        : target.closest("[data-step]")?.dataset.step;
      if (!strip) return;
      const sample = Number(strip.dataset.sample);
      const at = step === undefined ? {} : { match: { sample, from: Number(step), to: Number(step) } };
      this.explorer.show({ sample, ...at });
    });
  }

  choose(unit) {
    const { rowOf } = this.explorer.layer;
    if (rowOf.has(unit)) this.explorer.show({ unit });
    else this.find(".unit-about").textContent = `Unit ${unit} is not in this page. It has ${plural(rowOf.size, "unit")}: ${[...rowOf.keys()].sort((one, other) => one - other).join(", ")}.`;
  }

  follow(explorer) {
    this.explorer = explorer;
    const { layer, name, unit } = explorer;
    const key = [explorer.number, name, unit, theme()].join();
    if (key === this.drawn) return;
    this.drawn = key;
    this.draw();
  }

  draw() {
    const { layer, name, unit, state } = this.explorer;
    const row = layer.rowOf.get(unit);
    const by = this.find(".by input:checked").value;
    this.find(".unit-number").value = unit;
    this.find(".unit-number").max = Math.max(...layer.rows);
    const all = state.samples === layer.lengths.length ? `all ${plural(state.samples, "sample")}` : `the first ${plural(state.samples, "sample")}: the others were left out`;
    this.find(".unit-about").textContent = `${name} of unit ${unit} in ${layer.path}, over ${all}. Click a passage to go there.`;
    const found = drivers(layer, name, row, by);
    this.find(".drivers").replaceChildren(...found.map((each) => passageRow(this.explorer, each, {
      paint: (step) => this.explorer.paint(layer.value(name, each.sample, row, step)),
      around: 0,
      note: this.peak(row, by, each),
      part: each.score / found[0].score,
    })));
    if (!found.length) this.find(".drivers").append(make("li", { className: "hint-text" }, "It is zero everywhere."));
    this.drawStrips(ROWS_AT_FIRST);
  }

  /** The value at the peak as text, or both values of a change. */
  peak(row, by, { sample, peak }) {
    const { layer, name } = this.explorer;
    const text = (step) => layer.text(name, sample, row, step);
    const before = peak + (layer.direction === "backward" ? 1 : -1);
    return by === "value" ? text(peak) : `${text(before)} → ${text(peak)}`;
  }

  drawStrips(most) {
    const { layer, state } = this.explorer;
    const samples = Math.min(state.samples, most);
    this.find(".strips").replaceChildren(...Array.from({ length: samples }, (_, sample) => {
      const steps = layer.hasText ? this.words(sample) : this.strip(sample);
      const strip = make("li", {}, make("bdi", { className: "strip-name" }, page.samples[sample]), steps);
      strip.dataset.sample = sample;
      return strip;
    }));
    const more = this.find(".more");
    more.hidden = samples >= state.samples;
    more.textContent = `Show all ${state.samples} samples`;
  }

  /** What one sample reads, each step in the colour of its value. */
  words(sample) {
    const { layer, name, unit, paint } = this.explorer;
    const row = layer.rowOf.get(unit);
    const steps = make("bdi", { className: `steps${layer.hasWords(sample) ? " words" : ""}` });
    for (let step = 0; step < layer.lengths[sample]; step++) {
      steps.append(stepMark(layer, sample, step, paint(layer.value(name, sample, row, step))));
    }
    return steps;
  }

  /** The same without text: one line over time, all samples in line with each other. */
  strip(sample) {
    const { layer, name, unit, paint } = this.explorer;
    const row = layer.rowOf.get(unit);
    const canvas = make("canvas", { className: "strip", width: layer.steps, height: 1 });
    const pixels = new ImageData(layer.steps, 1);
    for (let step = 0; step < layer.lengths[sample]; step++) {
      pixels.data.set([...paint(layer.value(name, sample, row, step)), 255], 4 * step);
    }
    canvas.getContext("2d").putImageData(pixels, 0, 0);
    return canvas;
  }
}
