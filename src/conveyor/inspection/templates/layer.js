// ---- the numbers of one layer -------------------------------------------------------------

/** The bytes of a block of the page. */
async function inflate(block) {
  const letters = atob(document.getElementById(`block-${block}`).textContent);
  const packed = new Uint8Array(letters.length);
  for (let i = 0; i < packed.length; i++) packed[i] = letters.charCodeAt(i);
  const inflated = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return new Uint8Array(await new Response(inflated).arrayBuffer());
}

/** Whole numbers out of the page: see the comment above the data. */
async function unpack({ block, bits }, steps) {
  const bytes = await inflate(block);
  const count = (8 * bytes.length) / bits;
  const whole = bits === 8 ? new Int8Array(count) : new Int16Array(count);
  for (let i = 0; i < count; i++) {
    const change = bits === 8 ? bytes[i] : bytes[i] | (bytes[count + i] << 8);
    whole[i] = i % steps ? whole[i - 1] + change : change; // storing is modulo 2^bits
  }
  return whole;
}

/** One layer of the trace; rows are its units in the order in which they are drawn. */
class Layer {
  constructor(data) {
    Object.assign(this, data);
    this.whole = {};
    this.rowOf = new Map(this.rows.map((unit, row) => [unit, row]));
  }

  async load(name) {
    this.whole[name] ??= await unpack(this.states[name], this.steps);
    if (this.written) return;
    const whole = await unpack(this.change, this.steps);
    this.written = Float64Array.from(whole, (number) => number * this.change.scales[0]);
  }

  value(name, sample, row, step) {
    const { bits, scales } = this.states[name];
    const number = this.whole[name][(sample * this.rows.length + row) * this.steps + step];
    return number === -(2 ** (bits - 1)) ? NaN : number * scales[row];
  }

  /** A value as text, exact to what it says. */
  text(name, sample, row, step) {
    const value = this.value(name, sample, row, step);
    if (!Number.isNaN(value)) {
      return spell(value, this.states[name].scales[row] / 2, this.states[name].palette !== "gate");
    }
    const masked = this.rows.every((_, each) => Number.isNaN(this.value(name, sample, each, step)));
    return masked ? "masked" : "not finite";
  }

  /** The label under a step: a token, a time, or nothing. */
  label(sample, step) {
    return page.texts[this.textOf]?.[sample]?.[step] ?? this.times?.[step] ?? "";
  }

  get hasText() {
    return this.textOf !== null;
  }

  /** "step 4 of 8: “m”" */
  where(sample, step) {
    const label = this.label(sample, step);
    return `step ${step + 1} of ${this.lengths[sample]}${label ? `: “${isolated(label)}”` : ""}`;
  }

  /** Whether most of the labels are longer than a character. */
  hasWords(sample, from = 0, to = this.lengths[sample] - 1) {
    const labels = Array.from({ length: to - from + 1 }, (_, i) => this.label(sample, from + i));
    return 2 * labels.filter((label) => label.length > 1).length >= labels.length;
  }

  /** What was read from one step to another, as text. */
  quote(sample, from, to) {
    const labels = [];
    for (let step = from; step <= to; step++) labels.push(this.label(sample, step));
    return labels.join(this.hasWords(sample, from, to) ? " " : "");
  }
}
