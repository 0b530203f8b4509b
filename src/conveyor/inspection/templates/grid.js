// ---- a heat map: colours on a canvas, and a cursor that tells values --------------------------

/**
 * source: { rows, columns, colour(row, column), tip(row, column), aloud(row, column) }, and what
 * happens: moved(row, column), left(), picked(row, column), key(event).
 */
class Grid {
  constructor(map, source) {
    this.map = map;
    this.source = source;
    this.canvas = find("canvas", map);
    this.canvas.hidden = false;
    this.listen();
    new ResizeObserver(() => this.draw()).observe(map);
  }

  draw() {
    const { rows, columns } = this.source;
    const { clientWidth, clientHeight } = this.map;
    if (!rows || !columns || !clientWidth) return;
    const pixels = new ImageData(columns, rows);
    for (let row = 0, at = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++, at += 4) {
        const paint = this.source.colour(row, column);
        if (paint) pixels.data.set([...paint, 255], at);
      }
    }
    const small = new OffscreenCanvas(columns, rows);
    small.getContext("2d").putImageData(pixels, 0, 0);
    const density = devicePixelRatio || 1;
    this.canvas.width = clientWidth * density;
    this.canvas.height = clientHeight * density;
    const pen = this.canvas.getContext("2d");
    pen.imageSmoothingEnabled = false;
    pen.drawImage(small, 0, 0, this.canvas.width, this.canvas.height);
    const width = this.canvas.width / columns;
    if (width < 8 * density) return;
    // A hair of page between the columns: steps are apart, units of one step belong together.
    for (let column = 1; column < columns; column++) {
      pen.clearRect(Math.round(column * width) - density / 2, 0, density, this.canvas.height);
    }
  }

  /** Put the cursor on one value; mark its row and column, and tell it beside. */
  point(row, column) {
    const { rows, columns } = this.source;
    this.row = row = Math.min(rows - 1, Math.max(0, row));
    this.column = column = Math.min(columns - 1, Math.max(0, column));
    const left = (100 * column) / columns;
    const height = this.map.clientHeight / rows;
    const [upright, level, tip] = [".column-mark", ".row-mark", ".tip"].map((part) => find(part, this.map));
    upright.hidden = level.hidden = tip.hidden = false;
    upright.style.cssText = `left:${left}%;width:${100 / columns}%`;
    level.style.cssText = `top:${row * height - 1}px;height:${height + 2}px`;
    const [number, ...lines] = this.source.tip(row, column);
    tip.replaceChildren(make("b", {}, number), ...lines.map((line) => make("span", {}, line)));
    tip.style.setProperty("--value", `rgb(${this.source.colour(row, column) ?? [128, 128, 128]})`);
    // Beside the column, on the side with more room in what is seen of the map.
    const seen = this.map.closest(".scroll")?.getBoundingClientRect() ?? this.map.getBoundingClientRect();
    const middle = this.map.getBoundingClientRect().left + (this.map.clientWidth * (column + 0.5)) / columns;
    const right = middle < seen.left + seen.width / 2;
    tip.style.left = right ? `calc(${left + 100 / columns}% + 10px)` : "auto";
    tip.style.right = right ? "auto" : `calc(${100 - left}% + 10px)`;
    tip.style.top = `${Math.max(0, Math.min(row * height, this.map.clientHeight - tip.offsetHeight))}px`;
    this.source.moved?.(row, column);
  }

  leave() {
    for (const part of [".column-mark", ".row-mark", ".tip"]) find(part, this.map).hidden = true;
    this.source.left?.();
  }

  cell(event) {
    const box = this.map.getBoundingClientRect();
    return [
      Math.floor(((event.clientY - box.top) / box.height) * this.source.rows),
      Math.floor(((event.clientX - box.left) / box.width) * this.source.columns),
    ];
  }

  listen() {
    this.map.addEventListener("pointermove", (event) => this.point(...this.cell(event)));
    this.map.addEventListener("pointerdown", (event) => this.point(...this.cell(event)));
    this.map.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && this.leave());
    this.map.addEventListener("blur", () => this.leave());
    this.map.addEventListener("click", (event) => {
      this.point(...this.cell(event));
      this.source.picked?.(this.row, this.column);
    });
    this.map.addEventListener("keydown", (event) => {
      const ways = {
        ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1],
        PageUp: [-10, 0], PageDown: [10, 0], Home: [0, -1e9], End: [0, 1e9],
      };
      if (event.key === "Escape") this.leave();
      if (event.key === "Enter" && this.row !== undefined) this.source.picked?.(this.row, this.column);
      if (!(event.key in ways)) return;
      event.preventDefault();
      const [down, along] = ways[event.key];
      const before = this.column;
      this.point((this.row ?? 0) + down, (this.column ?? (along > 0 ? -1 : 0)) + along);
      this.source.walked?.(event, before);
      find(".said-aloud", this.map.closest("figure, article")).textContent =
        this.source.aloud(this.row, this.column);
    });
  }
}
