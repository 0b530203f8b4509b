"use strict";
// Brings the heat maps of the report to life. The page is readable without it.

const page = JSON.parse(document.getElementById("conveyor-data").textContent);
const root = document.documentElement;
const prefersDark = matchMedia("(prefers-color-scheme: dark)");
const theme = () => root.dataset.theme ?? (prefersDark.matches ? "dark" : "light");

// ---- data ---------------------------------------------------------------------------------

/** int16 in base64 to numbers; see the comment above the data. */
function unpack({ data, scale }) {
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  return Float64Array.from({ length: bytes.length / 2 }, (_, i) => {
    const whole = view.getInt16(2 * i, true);
    return whole === -32768 ? NaN : whole * scale;
  });
}

const rgb = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));

/** A function from a value to [r, g, b], as `_palette.colour` in Python. */
function colours(stops, low, high) {
  const steps = stops.map(rgb);
  return (value) => {
    if (Number.isNaN(value)) return [128, 128, 128];
    const place = Math.min(1, Math.max(0, (value - low) / (high - low))) * (steps.length - 1);
    const below = Math.min(Math.floor(place), steps.length - 2);
    const part = place - below;
    return steps[below].map((c, i) => Math.round(c * (1 - part) + steps[below + 1][i] * part));
  };
}

/** Three decimals; two digits of what is smaller than they can tell. */
const short = (value) => (value && value < 0.01 ? value.toPrecision(2) : value.toFixed(3));
const signed = (value) => (value < 0 ? "−" : "+") + short(Math.abs(value));

// ---- one example ----------------------------------------------------------------------------

class HeatMap {
  constructor(article) {
    this.find = (selector) => article.querySelector(selector);
    this.all = (selector) => [...article.querySelectorAll(selector)];
    Object.assign(this, page.examples[Number(article.dataset.example)]);
    this.steps = this.labels.length;
    this.units = this.order.length;
    this.values = {};
    this.read = this.steps; // columns shown so far; fewer while the sequence is being read
    this.map = this.find(".map");
    this.canvas = this.find("canvas");
    this.find("picture").hidden = true;
    this.canvas.hidden = this.find(".toolbar").hidden = false;
    for (const part of [".trace", ".trace-scale", ".trace-title"]) this.find(part).hidden = false;
    this.find(".trace-title").previousElementSibling.hidden = false;
    this.show(this.find("fieldset input:checked").value);
    this.choose(this.mostMovedRow());
    this.listen();
  }

  value(row, step) {
    return this.values[this.name][step * this.units + this.order[row]];
  }

  /** A value as text; a gate has no sign. */
  number(row, step) {
    const value = this.value(row, step);
    if (Number.isNaN(value)) return "not finite";
    return this.state.palette === "gate" ? short(value) : signed(value);
  }

  /** Show another state; rows, columns and the chosen unit stay. */
  show(name) {
    this.name = name;
    this.state = this.states[name];
    this.values[name] ??= unpack(this.state.packed);
    const { low, high, clipped, about, palette } = this.state;
    this.find(".about").textContent = about;
    this.find(".legend").className = `legend ${palette}`;
    this.find(".low").textContent = (clipped ? "≤ " : "") + String(low).replace("-", "−");
    this.find(".high").textContent = (clipped ? "≥ " : "") + high;
    const { light, dark } = page.palettes;
    const stops = light[palette].map((stop, i) => `light-dark(${stop}, ${dark[palette][i]})`);
    this.find(".legend i").style.background = `linear-gradient(90deg, ${stops})`;
    this.map.setAttribute("aria-label", `${name}: ${this.units} units over ${this.steps} time steps`);
    this.draw();
    if (this.row !== undefined) this.choose(this.row);
  }

  draw() {
    const { low, high, palette } = this.state;
    const colour = colours(page.palettes[theme()][palette], low, high);
    const small = new OffscreenCanvas(this.steps, this.units);
    const pixels = new ImageData(this.steps, this.units);
    for (let row = 0; row < this.units; row++) {
      for (let step = 0; step < this.read; step++) {
        pixels.data.set([...colour(this.value(row, step)), 255], 4 * (row * this.steps + step));
      }
    }
    small.getContext("2d").putImageData(pixels, 0, 0);
    const density = devicePixelRatio || 1;
    const { clientWidth, clientHeight } = this.map;
    this.canvas.width = clientWidth * density;
    this.canvas.height = clientHeight * density;
    const pen = this.canvas.getContext("2d");
    pen.imageSmoothingEnabled = false;
    pen.drawImage(small, 0, 0, this.canvas.width, this.canvas.height);
    const column = this.canvas.width / this.steps;
    if (column < 8 * density) return;
    // A hair of page between the columns: steps are apart, units of one step belong together.
    for (let step = 1; step < this.steps; step++) {
      pen.clearRect(Math.round(step * column) - density / 2, 0, density, this.canvas.height);
    }
  }

  mostMovedRow() {
    const moved = (row) => {
      let sum = 0;
      for (let step = 1; step < this.steps; step++) {
        sum += Math.abs(this.value(row, step) - this.value(row, step - 1)) || 0;
      }
      return sum;
    };
    return [...Array(this.units).keys()].reduce((best, row) => (moved(row) > moved(best) ? row : best));
  }

  /** Draw the values of the unit in this row as a line over time. */
  choose(row) {
    this.row = row;
    const { low, high } = this.state;
    const values = Array.from({ length: this.steps }, (_, step) => this.value(row, step));
    const top = Math.max(high, ...values.map((value) => Math.abs(value) || 0));
    const foot = low < 0 ? -top : 0;
    const y = (value) => (100 * (top - (value || 0))) / (top - foot);
    const points = values.map((value, step) => `${step + 0.5},${y(value)}`);
    this.find(".trace").innerHTML =
      `<svg viewBox="0 0 ${this.steps} 100" preserveAspectRatio="none" aria-hidden="true">` +
      `<path class="zero" d="M0 ${y(0)}H${this.steps}"/><polyline class="line" points="${points.join(" ")}"/>` +
      `<path class="dot" d="${points.map((point) => `M${point}h.001`).join("")}"/></svg>`;
    const [upper, zero, lower] = this.find(".trace-scale").children;
    upper.textContent = (foot < 0 ? "+" : "") + Number(top.toPrecision(2));
    zero.textContent = foot < 0 ? "0" : "";
    lower.textContent = foot < 0 ? `−${Number(top.toPrecision(2))}` : "0";
    this.find(".trace-title").textContent = `Unit ${this.order[row]} alone: its ${this.name} over time`;
  }

  /** Put the cursor on one value; say it, and mark its row and column. */
  point(row, step) {
    this.row = row = Math.min(this.units - 1, Math.max(0, row));
    this.step = step = Math.min(this.steps - 1, Math.max(0, step));
    const left = (100 * step) / this.steps;
    const height = this.map.clientHeight / this.units;
    const [column, line, tip] = [".column-mark", ".row-mark", ".tip"].map(this.find);
    column.hidden = line.hidden = tip.hidden = false;
    column.style.cssText = `left:${left}%;width:${100 / this.steps}%`;
    line.style.cssText = `top:${row * height - 1}px;height:${height + 2}px`;
    const { low, high, palette } = this.state;
    const paint = colours(page.palettes[theme()][palette], low, high)(this.value(row, step));
    tip.style.setProperty("--value", `rgb(${paint})`);
    tip.innerHTML = "<b></b><span></span><span></span>";
    const [number, unit, where] = tip.children;
    number.textContent = this.number(row, step);
    unit.textContent = `unit ${this.order[row]}`;
    where.textContent = `step ${step + 1} of ${this.steps}: “\u2068${this.labels[step]}\u2069”`;
    // Beside the column, on the side with more room; never over the edge of the map.
    const right = step < this.steps / 2;
    tip.style.left = right ? `calc(${left + 100 / this.steps}% + 10px)` : "auto";
    tip.style.right = right ? "auto" : `calc(${100 - left}% + 10px)`;
    tip.style.top = `${Math.min(row * height, this.map.clientHeight - tip.offsetHeight)}px`;
    this.mark(step);
    this.choose(row);
  }

  mark(step) {
    for (const list of [".ruler li", ".bars li"]) {
      this.all(list).forEach((item, i) => item.classList.toggle("here", i === step));
    }
  }

  leave() {
    for (const part of [".column-mark", ".row-mark", ".tip"]) this.find(part).hidden = true;
    this.mark(-1);
  }

  say() {
    this.find("output").textContent =
      `unit ${this.order[this.row]}, step ${this.step + 1}, ${this.labels[this.step]}: ` +
      this.number(this.row, this.step);
  }

  /** Read the sequence again, character by character. */
  play() {
    clearInterval(this.clock);
    this.leave();
    this.read = 0;
    const turn = () => {
      this.all(".ruler li").forEach((item, i) => item.classList.toggle("unread", i >= this.read));
      this.draw();
      if (this.read++ >= this.steps) {
        clearInterval(this.clock);
        this.read = this.steps;
      }
    };
    turn();
    this.clock = setInterval(turn, Math.max(60, Math.min(220, 6000 / this.steps)));
  }

  listen() {
    const at = (event) => {
      const box = this.map.getBoundingClientRect();
      this.point(
        Math.floor(((event.clientY - box.top) / box.height) * this.units),
        Math.floor(((event.clientX - box.left) / box.width) * this.steps),
      );
    };
    this.map.addEventListener("pointermove", at);
    this.map.addEventListener("pointerdown", at);
    this.map.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && this.leave());
    this.map.addEventListener("blur", () => this.leave());
    this.map.addEventListener("keydown", (event) => {
      const [down, along] = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key] ?? [];
      if (event.key === "Escape") this.leave();
      if (down === undefined) return;
      event.preventDefault();
      const far = event.shiftKey ? 10 : 1;
      this.point(this.row + down * far, (this.step ?? (along > 0 ? -1 : 0)) + along * far);
      this.say();
    });
    for (const input of this.all("fieldset input")) {
      input.addEventListener("change", () => this.show(input.value));
    }
    this.find(".play").addEventListener("click", () => this.play());
    new ResizeObserver(() => this.draw()).observe(this.map);
  }
}

// ---- the page -------------------------------------------------------------------------------

const maps = [...document.querySelectorAll("[data-example]")].map((article) => new HeatMap(article));
const button = document.querySelector(".theme");
const themed = () => {
  button.querySelector(".theme-name").textContent = theme() === "dark" ? "light" : "dark";
  for (const map of maps) map.draw();
};
button.hidden = false;
button.addEventListener("click", () => {
  root.dataset.theme = theme() === "dark" ? "light" : "dark";
  themed();
});
prefersDark.addEventListener("change", themed);
themed();
root.dataset.ready = "yes";
