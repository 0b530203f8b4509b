// ---- the page -------------------------------------------------------------------------------

function start() {
  const section = find(".explorer");
  const explorer = section && new Explorer(section);
  if (explorer) {
    explorer.followers.push(new PassagePanel(section), new UnitPanel(section));
    const [attention, beam, search, name] = [".card.attention", ".card.beam", ".card.search-tree", ".of-sample"].map((part) => find(part));
    if (attention) explorer.followers.push(new AttentionPanel(attention));
    if (beam) explorer.followers.push(new BeamPanel(beam));
    if (search) explorer.followers.push(new SearchTreePanel(search));
    if (name) explorer.followers.push({ follow: ({ sample }) => (name.textContent = page.samples[sample]) });
  }
  const button = find(".theme");
  const themed = () => {
    find(".theme-name", button).textContent = theme() === "dark" ? "light" : "dark";
    if (explorer) explorer.show();
    else root.dataset.ready = "yes";
  };
  button.hidden = false;
  button.addEventListener("click", () => {
    root.dataset.theme = theme() === "dark" ? "light" : "dark";
    themed();
  });
  prefersDark.addEventListener("change", themed);
  themed();
}

if ("DecompressionStream" in window) start();
else {
  const note = "This browser is older than 2023 and cannot unpack the numbers: the page stays a still picture.";
  find("main").prepend(make("p", { className: "lead" }, note));
}
