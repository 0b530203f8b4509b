// ---- below the map, in line with its columns: what was read, how much was written, one unit ------

class TimeAxis {
  constructor(explorer) {
    this.explorer = explorer;
    this.find = explorer.find;
    this.ruler = this.find(".ruler");
    this.bars = this.find(".bars");
    this.listen();
  }

  drawRuler() {
    const every = this.explorer.layer.hasText ? 1 : Math.max(1, Math.ceil(this.explorer.columns / 20));
    const words = this.explorer.layer.hasText && this.explorer.layer.hasWords(this.explorer.sample);
    this.ruler.replaceChildren(...Array.from({ length: this.explorer.columns }, (_, step) => {
      const label = this.explorer.layer.hasText
        ? this.explorer.layer.label(this.explorer.sample, step)
        : step % every ? "" : this.explorer.layer.label(this.explorer.sample, step) || String(step + 1);
      const upright = this.explorer.layer.hasText ? words || label.length > 2 : label.length > 5;
      return make("li", {}, make("bdi", { className: upright ? "upright" : "" }, label));
    }));
  }

  drawBars() {
    const written = Array.from({ length: this.explorer.columns }, (_, step) => this.explorer.layer.written[this.explorer.sample * this.explorer.layer.steps + step]);
    const most = Math.max(...written) || 1;
    const busiest = written.map((_, step) => step).sort((one, other) => written[other] - written[one]).slice(0, 3);
    this.bars.replaceChildren(...written.map((change, step) => {
      const bar = make("li", { className: busiest.includes(step) ? "busiest" : "", title: `step ${step + 1}: ${change.toPrecision(2)}` }, make("i"));
      bar.style.setProperty("--part", change / most);
      return bar;
    }));
    this.find(".change-scale").replaceChildren(make("span", {}, Number(most.toPrecision(2))), make("span", {}, "0"));
    this.find(".change-title").textContent = `Where the memory is written: mean change of ${this.explorer.layer.memory} at each step`;
    const named = busiest.map((step) => {
      const label = this.explorer.layer.label(this.explorer.sample, step);
      return label ? [make("b", {}, make("bdi", {}, label)), ` (step ${step + 1})`] : [`step ${step + 1}`];
    });
    const joined = named.flatMap((each, i) => [i === 0 ? "" : i === named.length - 1 ? " and " : ", ", ...each]);
    this.find(".busiest-steps").replaceChildren("The memory changes most at ", ...joined, ".");
  }

  /** The unit in this row as a line over time. */
  drawLine(row) {
    const isGate = this.explorer.state.palette === "gate";
    const values = Array.from({ length: this.explorer.columns }, (_, step) => this.explorer.value(row, step));
    const top = isGate ? 1 : Math.max(...values.map((value) => Math.abs(value) || 0)) || 1;
    const foot = isGate ? 0 : -top;
    const y = (value) => (100 * (top - value)) / (top - foot);
    let line = "", dots = "";
    values.forEach((value, step) => {
      if (Number.isNaN(value)) return;
      const point = `${step + 0.5} ${y(value)}`;
      line += `${step && !Number.isNaN(values[step - 1]) ? "L" : "M"}${point}`;
      dots += `M${point}h.001`;
    });
    this.find(".trace").innerHTML =
      `<svg viewBox="0 0 ${this.explorer.columns} 100" preserveAspectRatio="none" aria-hidden="true">` +
      `<path class="zero" d="M0 ${y(0)}H${this.explorer.columns}"/><path class="line" d="${line}"/>` +
      `<path class="dot${this.explorer.columns > 50 ? " small" : ""}" d="${dots}"/></svg>`;
    const limit = Number(top.toPrecision(2));
    const ends = isGate ? ["1", "", "0"] : [`+${limit}`, "0", `−${limit}`];
    this.find(".trace-scale").replaceChildren(...ends.map((text) => make("span", {}, text)));
    this.find(".trace-title").textContent = `Unit ${this.explorer.layer.rows[row]} alone: its ${this.explorer.name} over time`;
  }

  mark(step) {
    for (const list of [this.ruler, this.bars]) {
      [...list.children].forEach((item, i) => item.classList.toggle("here", i === step));
    }
  }

  /** With a mouse: drag. On touch: the first and the last step. */
  listen() {
    let dragging = false;
    const step = (event) => {
      const box = this.ruler.getBoundingClientRect();
      const at = Math.floor(((event.clientX - box.left) / box.width) * this.explorer.columns);
      return Math.min(this.explorer.columns - 1, Math.max(0, at));
    };
    this.ruler.addEventListener("pointerdown", (event) => {
      if (event.pointerType === "touch") return; // it may become a scroll
      event.preventDefault();
      dragging = true;
      if (!event.shiftKey) this.explorer.anchor = undefined;
      this.ruler.setPointerCapture(event.pointerId);
      this.explorer.extend(step(event), step(event));
    });
    this.ruler.addEventListener("pointermove", (event) => {
      this.mark(step(event));
      if (dragging) this.explorer.extend(step(event), step(event));
    });
    this.ruler.addEventListener("pointerleave", () => this.mark(-1));
    this.ruler.addEventListener("pointerup", (event) => {
      dragging = false;
      if (event.pointerType !== "touch") return;
      const isSecond = this.explorer.anchor !== undefined && this.explorer.span?.sample === this.explorer.sample && this.awaiting;
      if (!isSecond) this.explorer.anchor = undefined;
      this.explorer.extend(step(event), step(event));
      this.awaiting = !isSecond;
    });
    this.ruler.addEventListener("pointercancel", () => (dragging = false));
  }
}
