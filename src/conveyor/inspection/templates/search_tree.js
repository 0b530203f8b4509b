// ---- how the search for the output went: what it kept at each step, and what it gave up --------

const percent = (part) => (part < 0.01 ? "less than 1 %" : part > 0.99 && part < 1 ? "more than 99 %" : `${Math.round(100 * part)} %`);

/** The label of a token, its spaces paler than its letters. */
const withSpaces = (label) => label.split(/(␣)/).filter(Boolean).map((part) => (part === "␣" ? make("i", {}, part) : part));

/** The tree of one sample: nodes that know where they go on from, in rows without crossings. */
class SearchTree {
  constructor({ texts, labels, between, chosen, steps }) {
    this.between = between;
    this.steps = steps.map(({ tokens, parents, logs, ends }, step) => tokens.map((token, place) => ({
      step, parent: parents[place], log: logs[place], ended: ends.includes(place),
      text: texts[token], label: labels[token], children: [],
    })));
    for (const node of this.nodes) {
      node.parent = this.steps[node.step - 1]?.[node.parent] ?? null;
      node.parent?.children.push(node);
      node.part = Math.min(1, Math.exp(node.log - (node.parent?.log ?? 0)));
    }
    this.chosen = this.steps[chosen[0]][chosen[1]];
    for (const node of this.way(this.chosen)) node.isChosen = true;
    for (const node of this.nodes.reverse()) {
      node.reach = Math.max(node.step, ...node.children.map((child) => child.reach));
      node.lives = node.isChosen || node.ended || node.step === steps.length - 1 || node.children.some((child) => child.lives);
    }
    this.beams = Math.max(...this.steps.map((step) => step.length));
    this.lay();
  }

  get nodes() { return this.steps.flat(); }

  /** From the first token to this one. */
  way(node) {
    const way = [];
    for (let each = node; each; each = each.parent) way.push(each);
    return way.reverse();
  }

  /** Children in the order of their parents, so no edge crosses another: the chosen way is the
      first row, what lived long is near to it. A row is left as late as there is room for the rest. */
  lay() {
    const better = (one, other) =>
      (other.isChosen ?? false) - (one.isChosen ?? false) || other.lives - one.lives || other.reach - one.reach || other.log - one.log;
    let before = [null];
    this.rows = this.steps.map((step) => {
      const ordered = before.flatMap((parent) => (parent ? parent.children : step).toSorted(better));
      ordered.forEach((node, i) => {
        const least = i ? ordered[i - 1].row + 1 : 0;
        const most = this.beams - ordered.length + i;
        node.row = Math.max(least, Math.min(node.parent?.row ?? i, most));
      });
      const byLog = step.toSorted((one, other) => other.log - one.log);
      byLog.forEach((node, rank) => (node.rank = rank + 1));
      return (before = ordered);
    });
  }

  /** What was written up to a node: the mark of the end is no text, ▁ is a space, bytes are UTF-8. */
  textTo(node) {
    const tokens = this.way(node).filter((each) => !each.ended).map((each) => each.text);
    const bytes = (run) => new TextDecoder().decode(Uint8Array.from(run.match(/[0-9A-F]{2}(?=>)/g), (hex) => parseInt(hex, 16)));
    return tokens.join(this.between).replace(/(<0x[0-9A-F]{2}>)+/g, bytes).replaceAll("▁", " ").trim();
  }

  /** What one would want to know of all of it, in a few sentences. */
  about() {
    if (this.beams === 1) return `${plural(this.steps.length, "step")}, one text kept at each: a greedy search.`;
    const ended = this.nodes.filter((node) => node.ended);
    const best = (nodes) => nodes.reduce((one, other) => (other.log > one.log ? other : one));
    const left = this.way(this.chosen)
      .map((node) => [node, best(node.parent?.children ?? this.steps[0])])
      .find(([node, other]) => other.log > node.log);
    const likelier = ended.length ? best(ended).log > this.chosen.log : false;
    return [
      `${plural(this.steps.length, "step")}, at most ${plural(this.beams, "text")} kept at each; ${ended.length || "none"} ended.`,
      left
        ? `Greedy search would have left the way to the chosen text at step ${left[0].step + 1}, for “${isolated(left[1].label)}”.`
        : "Greedy search would have found the chosen text too.",
      ...(likelier ? ["Another that ended is more probable: the choice weighed more than that, as a rule the length."] : []),
    ].join(" ");
  }
}

class SearchTreePanel {
  constructor(article) {
    this.find = (selector) => find(selector, article);
    this.map = this.find(".tree-map");
    this.lattice = this.find(".lattice");
    this.listen();
    new ResizeObserver(() => this.tree && this.drawEdges()).observe(this.lattice);
  }

  async follow({ sample }) {
    if (sample === this.sample) return;
    this.sample = sample;
    const block = page.searches[sample];
    const isHere = block !== null && block >= 0;
    const data = isHere && JSON.parse(new TextDecoder().decode(await inflate(block)));
    if (sample !== this.sample) return; // the reader has asked for another since
    this.leave();
    this.tree = data && new SearchTree(data);
    this.find(".tree-there").hidden = !data;
    this.find(".search-about").textContent = data ? this.tree.about()
      : block === -1 ? "The search for this sample was left out to keep the page small." : "No search was given for this sample.";
    if (data) this.draw();
  }

  draw() {
    const { tree } = this;
    this.here = undefined;
    this.map.setAttribute("aria-label", `search tree: ${plural(tree.steps.length, "step")}, at most ${plural(tree.beams, "text")} at each`);
    const at = (element, column, row) => {
      element.style.gridArea = `${row + 2} / ${column + 2}`;
      return element;
    };
    this.edges = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    this.begin = at(make("i", { className: "begin" }), -1, 0);
    const numbers = tree.steps.map((_, step) => at(make("span", { className: "step-number" }, String(step + 1)), step, -1));
    const drawn = tree.nodes.map((node) => {
      const kind = node.isChosen ? "chosen" : node.lives ? "" : "given-up";
      node.drawn = at(make("bdi", { className: `node ${kind}${node.ended ? " ended" : ""}` }, make("bdi", {}, ...withSpaces(node.label))), node.step, node.row);
      node.drawn.style.setProperty("--part", node.part);
      node.drawn.node = node;
      return node.drawn;
    });
    this.lattice.replaceChildren(this.edges, this.begin, ...numbers, ...drawn);
    this.map.closest(".scroll").scrollLeft = 0;
    this.drawEdges();
    this.tell(tree.chosen);
    this.find(".in-words").open = false;
    this.find(".in-words ol").replaceChildren();
  }

  drawEdges() {
    const { steps, nodes } = this.tree;
    const left = steps.map((step) => Math.min(...step.map(({ drawn }) => drawn.offsetLeft)));
    const right = steps.map((step) => Math.max(...step.map(({ drawn }) => drawn.offsetLeft + drawn.offsetWidth)));
    const middle = (element) => element.offsetTop + element.offsetHeight / 2;
    for (const node of nodes) {
      const from = node.parent?.drawn ?? this.begin;
      const [x, y] = [from.offsetLeft + from.offsetWidth, middle(from)];
      const bend = Math.max(x, right[node.step - 1] ?? 0);
      const half = (bend + left[node.step]) / 2;
      const to = middle(node.drawn);
      node.edge = `M${x} ${y}H${bend}C${half} ${y} ${half} ${to} ${left[node.step]} ${to}`;
    }
    const kinds = [
      ["given-up", (node) => !node.lives],
      ["", (node) => node.lives && !node.isChosen],
      ["chosen", (node) => node.isChosen],
    ];
    const paths = kinds.map(([kind, isKind]) => `<path class="${kind}" d="${nodes.filter(isKind).map(({ edge }) => edge).join("")}"/>`);
    this.edges.innerHTML = `${paths.join("")}<path class="here"/>`;
    if (this.here) this.point(this.here);
  }

  /** Put the cursor on a node: its way from the beginning, the text so far, its numbers. */
  point(node) {
    this.leave();
    const way = this.tree.way(node);
    for (const each of way) each.drawn.classList.add("here");
    node.drawn.classList.add("cursor");
    find(".here", this.edges).setAttribute("d", way.map(({ edge }) => edge).join(""));
    this.here = node;
    this.tell(node);
  }

  leave() {
    if (!this.here) return;
    for (const each of all(".node.here", this.lattice)) each.classList.remove("here", "cursor");
    find(".here", this.edges).removeAttribute("d");
    this.here = undefined;
    this.tell(this.tree.chosen);
  }

  facts(node) {
    const fate = node === this.tree.chosen ? "chosen" : node.isChosen ? "on the way to the chosen text" : node.lives ? "" : "given up later";
    return [
      `“${isolated(node.label)}” at step ${node.step + 1}`,
      `log probability ${spell(node.log, 0, true)}`,
      `${percent(node.part)} after the tokens before it`,
      `number ${node.rank} of ${this.tree.steps[node.step].length} at this step`,
      node.ended ? "the end of a text" : "",
      fate,
    ].filter(Boolean);
  }

  /** Below the tree: the text up to a node, and its numbers. */
  tell(node) {
    const name = node === this.tree.chosen ? "Chosen" : node.ended ? "Ended" : "So far";
    this.find(".so-far-name").textContent = `${name}: `;
    this.find(".so-far-text").textContent = this.tree.textTo(node) || "(no text)";
    this.find(".so-far-facts").replaceChildren(...this.facts(node).map((fact) => make("span", {}, fact)));
  }

  aloud(node) {
    return `${this.facts(node).join(", ")}: ${this.tree.textTo(node)}`;
  }

  drawWords() {
    const said = ({ label, log, parent, isChosen, lives, ended }) => [
      make("b", {}, "“", make("bdi", {}, label), "”"),
      ...(parent ? [" after “", make("bdi", {}, parent.label), "”"] : []),
      ` ${spell(log, 0, true)}`,
      [isChosen ? " chosen" : "", ended ? " ended" : "", lives ? "" : " given up"].filter(Boolean).join(","),
    ];
    this.find(".in-words ol").replaceChildren(...this.tree.rows.map((step) =>
      make("li", {}, ...step.flatMap((node, i) => [i ? "; " : "", ...said(node)]))));
  }

  /** The neighbour of a node in the direction of a key. */
  neighbour(node, key) {
    const { rows, steps, chosen } = this.tree;
    const along = rows[node.step];
    const ways = {
      ArrowLeft: () => node.parent,
      ArrowRight: () => rows[node.step + 1]?.find((each) => each.parent === node),
      ArrowUp: () => along[along.indexOf(node) - 1],
      ArrowDown: () => along[along.indexOf(node) + 1],
      Home: () => rows[0][0],
      End: () => chosen,
      PageUp: () => rows[Math.max(0, node.step - 10)][0],
      PageDown: () => rows[Math.min(steps.length - 1, node.step + 10)][0],
    };
    return ways[key]() ?? node;
  }

  listen() {
    const pointed = ({ target }) => {
      const node = target.closest(".node")?.node;
      if (node && node !== this.here) this.point(node);
    };
    this.map.addEventListener("pointermove", pointed);
    this.map.addEventListener("pointerdown", pointed);
    this.map.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && this.leave());
    this.map.addEventListener("blur", () => this.leave());
    this.map.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.leave();
      if (!/^(Arrow|Home|End|Page)/.test(event.key)) return;
      event.preventDefault();
      const isJump = event.key === "Home" || event.key === "End";
      this.point(this.here || isJump ? this.neighbour(this.here ?? this.tree.chosen, event.key) : this.tree.rows[0][0]);
      this.here.drawn.scrollIntoView({ block: "nearest", inline: "center" });
      this.find(".said-aloud").textContent = this.aloud(this.here);
    });
    this.find(".in-words").addEventListener("toggle", ({ target }) => target.open && this.drawWords());
  }
}
