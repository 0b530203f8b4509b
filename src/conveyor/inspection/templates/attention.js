// ---- what a sequence-to-sequence model looked at, and the texts that it considered ------------

class AttentionPanel {
  constructor(article) {
    this.article = article;
    this.data = page.attention;
    this.scale = { palette: "gate", low: 0, high: 1 };
    this.grid = new Grid(find(".map", article), this);
  }

  get rows() { return this.data.targets[this.sample]?.length ?? 0; }
  get columns() { return this.data.sources[this.sample]?.length ?? 0; }

  at(row, column) {
    const { bits, columns, scales } = this.data;
    const steps = scales.length;
    const number = this.whole[(this.sample * steps + row) * columns + column];
    return number === -(2 ** (bits - 1)) ? NaN : number * scales[row];
  }

  colour(row, column) { return this.paint?.(this.at(row, column)) ?? null; }

  tip(row, column) {
    const value = this.at(row, column);
    return [
      Number.isNaN(value) ? "none" : spell(value, this.data.scales[row] / 2, false),
      `writing “${isolated(this.data.targets[this.sample][row])}” (step ${row + 1})`,
      `looking at “${isolated(this.data.sources[this.sample][column])}” (step ${column + 1})`,
    ];
  }

  aloud(row, column) {
    const [number, writing, looking] = this.tip(row, column);
    return `${writing}, ${looking}: ${number}`;
  }

  moved(row, column) { this.mark(row, column); }
  left() { this.mark(-1, -1); }

  mark(row, column) {
    [...find(".attention-target", this.article).children].forEach((item, i) => item.classList.toggle("here", i === row));
    [...find(".attention-source", this.article).children].forEach((item, i) => item.classList.toggle("here", i === column));
  }

  async follow(explorer) {
    this.whole ??= await unpack(this.data, this.data.columns);
    this.sample = explorer.sample;
    this.paint = colours(this.scale);
    const labels = (tokens) => tokens.map((token) => make("li", {}, make("bdi", {}, token)));
    find(".attention-target", this.article).replaceChildren(...labels(this.data.targets[this.sample]));
    find(".attention-source", this.article).replaceChildren(...this.data.sources[this.sample].map((token) =>
      make("li", {}, make("bdi", { className: token.length > 2 ? "upright" : "" }, token))));
    const chart = find(".attention-chart", this.article);
    chart.style.setProperty("--steps", this.columns);
    chart.style.setProperty("--written", this.rows);
    this.grid.leave();
    this.grid.draw();
  }
}

class BeamPanel {
  constructor(article) {
    this.list = find(".hypotheses", article);
  }

  follow({ sample }) {
    const beam = page.beams[sample];
    const probabilities = beam.map(([, score]) => Math.exp(score - beam[0][1]));
    this.list.replaceChildren(...beam.map(([text, score], place) => {
      const meter = make("i", { className: "meter" });
      meter.style.setProperty("--part", probabilities[place]);
      return make("li", {}, make("bdi", {}, text), meter, make("code", {}, spell(score, 0, true)));
    }));
  }
}
