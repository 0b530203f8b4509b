"""write_report(): one file, complete, safe, and alive in a browser."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
from keras import layers

from conveyor.inspection import ReportExample, describe, write_report
from conveyor.inspection._packing import unpack
from conveyor.inspection._seriation import order_of_units

NAMES = (
    "cell_states",
    "hidden_states",
    "input_gates",
    "forget_gates",
    "candidates",
    "output_gates",
)


def make_example(source="le 4 mai", units=16, seed=0, **changes):
    rng = np.random.default_rng(seed)
    states = {name: np.tanh(rng.normal(size=(len(source), units))) for name in NAMES}
    for name in ("input_gates", "forget_gates", "output_gates"):
        states[name] = np.abs(states[name])
    facts = {"title": "A date", "output": "2025-05-04", "expected": "2025-05-04", "language": "fr"}
    return ReportExample(source=list(source), states=states, **(facts | changes))


def write(tmp_path, **arguments):
    path = write_report(tmp_path / "report.html", **({"title": "Dates"} | arguments))
    return path.read_text(encoding="utf-8")


def embedded(page):
    """The data in the page, found as a browser would find it."""
    return json.loads(re.search(r'id="conveyor-data">(.*?)</script', page, re.S)[1])


class Elements(HTMLParser):
    """All start tags, as a browser reads them."""

    def __init__(self, page):
        super().__init__()
        self.tags = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))


def test_the_data_are_the_states(tmp_path):
    example = make_example()
    (picture,) = embedded(write(tmp_path, examples=[example]))["examples"]
    assert picture["labels"] == ["l", "e", "␣", "4", "␣", "m", "a", "i"]
    assert picture["order"] == order_of_units(example.states["cell_states"]).tolist()
    assert tuple(picture["states"]) == NAMES
    for name, state in picture["states"].items():
        packed = state["packed"]
        error = np.abs(unpack(packed) - example.states[name]).max()
        assert error <= 0.5001 * packed["scale"] < 1e-4


def test_nothing_is_loaded_from_anywhere(tmp_path):
    flows = describe(layers.LSTM(64), (20, 32))
    page = write(tmp_path, flows=flows, examples=[make_example()], summary={"engine": "native"})
    for tag, attributes in Elements(page).tags:
        assert tag not in ("link", "iframe", "object", "embed", "base")
        for name in ("src", "srcset", "href", "action", "data", "poster"):
            assert (attributes.get(name) or "data:").startswith("data:"), (tag, attributes)
    assert "@import" not in page
    assert "url(" not in page
    assert "fetch(" not in page
    assert set(re.findall(r"https?://[^\"' ]+", page)) <= {
        "http://www.w3.org/2000/svg"  # the name of SVG, not an address to load
    }
    assert "default-src 'none'" in page


ATTACK = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&--><!--"


def test_texts_stay_texts(tmp_path):
    attacked = make_example(
        source=["</script>", "<!--", "$title", '"'],
        title=ATTACK,
        output=ATTACK,
        expected=ATTACK + "!",
        language='x" onload="alert(3)',
    )
    layer = layers.LSTM(4, name=ATTACK.replace("/", ""))  # Keras wants no slash in a name
    page = write(
        tmp_path,
        title=ATTACK,
        examples=[attacked],
        flows=describe(layer, (3, 2)),
        summary={ATTACK: ATTACK},
    )
    plain = write(
        tmp_path,
        examples=[make_example(source="abcd", expected="", output="", language="")],
        flows=describe(layers.LSTM(4, name="lstm"), (3, 2)),
        summary={"a": "b"},
    )
    tags, usual = Elements(page).tags, Elements(plain).tags
    assert sum(tag == "script" for tag, _ in tags) == sum(tag == "script" for tag, _ in usual) == 2
    assert sum(tag == "img" for tag, _ in tags) == sum(tag == "img" for tag, _ in usual) == 1
    assert not any(name.startswith("on") for _, attributes in tags for name in attributes)
    assert embedded(page)["examples"][0]["labels"] == ["</script>", "<!--", "$title", '"']


def test_scripts_of_the_world_keep_the_order_of_time(tmp_path):
    arabic = "٤ مايو"
    page = write(tmp_path, examples=[make_example(source=arabic, language="ar")])
    assert embedded(page)["examples"][0]["labels"] == [c.replace(" ", "␣") for c in arabic]
    assert f'lang="ar">{arabic}</p>' in page
    assert all(f"<bdi>{character}</bdi>" in page for character in "٤ماي")


def test_the_verdict(tmp_path):
    right = write(tmp_path, examples=[make_example()])
    wrong = write(tmp_path, examples=[make_example(expected="2025-04-05")])
    unknown = write(tmp_path, examples=[make_example(expected="")])
    assert '<p class="verdict right">as expected</p>' in right
    assert '<p class="verdict wrong">expected <bdi>2025-04-05</bdi></p>' in wrong
    assert 'class="verdict' not in unknown


def test_the_flow_has_every_layer_and_the_first_one_open(tmp_path):
    both = layers.Bidirectional(layers.LSTM(64, return_state=True, name="lstm"), name="both")
    page = write(tmp_path, flows=describe(both, (20, 32)))
    assert page.count('<div class="lane">') == 2
    assert page.count('<details class="inside" open>') == 1
    assert page.count('<details class="inside">') == 1
    assert page.count('<div class="drawing"><svg') == 4
    assert "reads last to first" in page


def test_what_is_handed_on_stands_below_the_layer_it_leaves(tmp_path):
    flows = describe(layers.LSTM(64, name="reader"), (20, 32))
    page = write(tmp_path, flows=flows, handed_on={"reader": "its states <go on>"})
    lane, rest = page.split('<p class="handed-on">')
    assert "<b>reader</b>" in lane
    assert rest.startswith("its states &lt;go on&gt;</p>")


def test_a_report_of_nothing_is_still_a_page(tmp_path):
    page = write(tmp_path)
    assert '<h1 dir="auto">Dates</h1>' in page
    assert "<section" not in page
    assert "<dl" not in page


def test_five_large_examples_stay_under_two_megabytes(tmp_path):
    examples = [make_example(source="x" * 40, units=256, seed=seed) for seed in range(5)]
    path = write_report(tmp_path / "large.html", title="Large", examples=examples)
    assert path.stat().st_size < 2_000_000


def test_folders_are_made_and_half_characters_do_no_harm(tmp_path):
    path = write_report(tmp_path / "a" / "b.html", title="half \ud83d", examples=[make_example()])
    assert path == tmp_path / "a" / "b.html"
    assert path.exists()


def test_what_is_not_finite_is_kept_as_such(tmp_path):
    example = make_example()
    example.states["cell_states"][2, 3] = np.nan
    page = write(tmp_path, examples=[example])
    (picture,) = embedded(page)["examples"]
    assert np.isnan(unpack(picture["states"]["cell_states"]["packed"])[2, 3])
    assert "nan" not in re.sub(
        r'"data":"[^"]*"', "", page.partition('id="conveyor-data">')[2][:9999]
    )


CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")

# Chooses a state, points at a value, walks one step with the keyboard; then writes down what a
# reader sees, for --dump-dom to print.
VISIT = """
<script>
addEventListener("load", () => {
  const seen = {ready: document.documentElement.dataset.ready};
  const article = document.querySelector("article");
  const map = article.querySelector(".map");
  const box = map.getBoundingClientRect();
  const at = (row, step) => map.dispatchEvent(new PointerEvent("pointermove", {
    clientX: box.left + box.width * (step + 0.5) / STEPS,
    clientY: box.top + box.height * (row + 0.5) / UNITS,
  }));
  at(5, 3);
  seen.tip = article.querySelector(".tip").innerText;
  article.querySelector("input[value=forget_gates]").click();
  map.dispatchEvent(new KeyboardEvent("keydown", {key: "ArrowRight"}));
  seen.said = article.querySelector("output").textContent;
  document.documentElement.dataset.seen = btoa(unescape(encodeURIComponent(JSON.stringify(seen))));
});
</script>
"""


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here to open the page in")
def test_the_page_comes_alive(tmp_path):
    example = make_example()
    page = write(tmp_path, examples=[example])
    visit = VISIT.replace("STEPS", "8").replace("UNITS", "16")
    visited = tmp_path / "visited.html"
    visited.write_text(page.replace("</body>", visit + "</body>"), encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    dom = subprocess.run(
        [CHROMIUM, *options, profile, "--window-size=1000,1000", "--dump-dom", visited.as_uri()],
        capture_output=True,
        timeout=120,
        check=True,
    ).stdout.decode()
    seen = json.loads(base64.b64decode(re.search(r'data-seen="([^"]*)"', dom)[1]))
    unit = order_of_units(example.states["cell_states"])[5]
    value = example.states["cell_states"][3, unit]
    assert seen["ready"] == "yes"
    assert f"{value:+.3f}".replace("-", "−") in seen["tip"]
    assert f"unit {unit}" in seen["tip"]
    assert "step 4 of 8" in seen["tip"]
    assert "“\u20684\u2069”" in seen["tip"]
    gate = example.states["forget_gates"][4, unit]
    assert seen["said"] == f"unit {unit}, step 5, ␣: {gate:.3f}"
