"""The search in a browser: every node where it belongs, and what it tells."""

from __future__ import annotations

import math
import re
from itertools import pairwise

import numpy as np
import pytest

from conveyor.inspection import SearchNode, SearchTree, write_report
from report_reader import IN_A_BROWSER, SIZES, Reader
from report_traces import dataset, text_tree
from report_traces import tree as trace_of
from search_trees import search_tree

pytestmark = [*IN_A_BROWSER, pytest.mark.any_backend]

ENGLISH = ["</s>", "▁this", "▁pack", "age", "▁contains", "▁files", "▁for", "▁a", "s", "."]
ARABIC = ["</s>", "▁هذه", "▁الحزمة", "▁تحتوي", "▁على", "▁ملفات"]
BYTES = ["</s>", "▁", " ", "\n", "\u202e", "<script>", *(f"<0x{b:02X}>" for b in "é日".encode())]


def by_hand():
    def nodes(*given):
        return [SearchNode(*node) for node in given]

    return SearchTree(
        [
            nodes(("▁good", None, -0.2), ("▁the", None, -1.9), ("▁caf", None, -2.0)),
            nodes(("▁day", 0, -0.8), ("▁morning", 0, -0.9), ("<0xC3>", 2, -2.1)),
            nodes(("</s>", 0, -1.55, True), ("▁you", 1, -1.4), ("<0xA9>", 2, -2.2)),
            nodes(("</s>", 1, -1.6, True), ("</s>", 2, -2.25, True)),
        ],
        chosen=(3, 0),
    )


TREES = {
    "by hand": by_hand(),
    "English": search_tree(ENGLISH, 5, 14, 3),
    "none": None,
    "60 steps of 10": search_tree(ENGLISH, 10, 60, 5, 2.0),
    "right to left": search_tree(ARABIC, 5, 10, 2),
    "bytes": search_tree(BYTES, 4, 12, 1),
    "one step": search_tree(ENGLISH, 6, 1),
    "one node": search_tree(ENGLISH, 1, 1),
    "words": search_tree(["</s>", "Donaudampfschifffahrtsgesellschaft", "x"], 3, 6, between=" "),
}
NAMES = list(TREES)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    traced = text_tree(["4 mai"] * len(TREES))
    return write_report(path, title="Search", tree=traced, searches=list(TREES.values()))


class Searcher(Reader):
    """Looks at the search of a sample."""

    def show(self, name):
        self.choose("sample", NAMES.index(name))
        self.page.wait_for_function(
            "n => find('.tree-there').hidden ? n === 0 : all('.step-number').length === n",
            arg=len(TREES[name].steps) if TREES[name] else 0,
        )

    def drawn(self):
        """Of each node, in the order of the tree: its box and what it looks like."""
        return self.page.evaluate(
            """() => all(".search-tree .node").map((node) => {
              const { left, top, right, bottom } = node.getBoundingClientRect();
              return { left, top, right, bottom, label: node.textContent,
                kinds: [...node.classList], part: Number(node.style.getPropertyValue("--part")) };
            })"""
        )

    def node(self, name, step, place):
        before = sum(map(len, TREES[name].steps[:step]))
        return self.page.locator(".search-tree .node").nth(before + place)

    def told(self):
        return [self.text(".so-far p"), *self.texts(".so-far-facts span")]

    def press(self, *keys):
        self.page.locator(".tree-map").focus()
        for key in keys:
            self.page.keyboard.press(key)
        return self.page.locator(".search-tree .said-aloud").text_content()


@pytest.fixture(params=SIZES)
def reader(request, browser, report):
    width, height = SIZES[request.param]
    page = browser.new_page(
        viewport={"width": width, "height": height},
        has_touch=request.param == "phone",
        offline=True,
    )
    reader = Searcher(page, report)
    reader.show("by hand")
    yield reader
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width
    page.close()
    assert reader.troubles == []
    assert reader.requests == [report.as_uri()]


def way_to(tree, step, place):
    """Where (step, place) came from, itself first."""
    way = []
    for here in range(step, -1, -1):
        way.append((here, place))
        place = tree.steps[here][place].parent
    return way


def leads_somewhere(tree):
    """The nodes on a way to an end, to the last step or to the chosen node."""
    last = len(tree.steps) - 1
    ends = {
        (step, place)
        for step, nodes in enumerate(tree.steps)
        for place, node in enumerate(nodes)
        if node.finished or step == last
    }
    return {each for end in {*ends, tree.chosen} for each in way_to(tree, *end)}


def test_every_node_is_where_it_belongs(reader):
    for name, tree in TREES.items():
        if tree is not None:
            reader.show(name)
            check_layout(tree, reader.drawn())


def check_layout(tree, drawn):
    places = [(step, place) for step, nodes in enumerate(tree.steps) for place in range(len(nodes))]
    drawn = dict(zip(places, drawn, strict=True))
    chosen, alive = set(way_to(tree, *tree.chosen)), leads_somewhere(tree)
    assert len({drawn[place]["top"] for place in chosen}) == 1
    for (step, place), each in drawn.items():
        node = tree.steps[step][place]
        before = 0.0 if step == 0 else tree.steps[step - 1][node.parent].log_probability
        assert each["part"] == pytest.approx(math.exp(node.log_probability - before), rel=2e-3)
        kinds = {
            "chosen": (step, place) in chosen,
            "given-up": (step, place) not in alive,
            "ended": node.finished,
        }
        assert {kind: kind in each["kinds"] for kind in kinds} == kinds
    for step, nodes in enumerate(tree.steps):
        column = sorted(range(len(nodes)), key=lambda place: drawn[step, place]["top"])
        for upper, lower in pairwise(column):
            assert drawn[step, upper]["bottom"] < drawn[step, lower]["top"]
        if step:
            assert min(drawn[step, place]["left"] for place in column) > max(
                drawn[step - 1, place]["right"] for place in range(len(tree.steps[step - 1]))
            )
            above = [drawn[step - 1, nodes[place].parent]["top"] for place in column]
            assert above == sorted(above)  # no edge crosses another


def test_it_says_how_it_went(reader):
    assert reader.text(".search-about") == (
        "4 steps, at most 3 texts kept at each; 3 ended. Greedy search would have left the way to "
        "the chosen text at step 2, for “\u2068␣day\u2069”. Another that ended is more probable: "
        "the choice weighed more than that, as a rule the length."
    )
    assert reader.told() == [
        "Chosen: good morning you",
        "“\u2068</s>\u2069” at step 4",
        "log probability −1.600",
        "82 % after the tokens before it",
        "number 1 of 2 at this step",
        "the end of a text",
        "chosen",
    ]
    reader.show("one node")
    assert reader.text(".search-about") == "1 step, one text kept at each: a greedy search."
    reader.show("none")
    assert reader.text(".search-about") == "No search was given for this sample."


def test_a_node_tells_its_text_and_its_numbers(reader, request):
    touch = "phone" in request.node.name
    for place, text in {
        (2, 0): "Ended: good day",
        (3, 1): "Ended: café",
        (1, 2): "So far: caf\ufffd",
        (1, 0): "So far: good day",
    }.items():
        node = reader.node("by hand", *place)
        node.tap() if touch else node.hover()
        assert reader.told()[0] == text
        here = reader.page.locator(".node.here").count()
        assert here == place[0] + 1
    assert reader.told()[1:] == [
        "“\u2068␣day\u2069” at step 2",
        "log probability −0.800",
        "55 % after the tokens before it",
        "number 1 of 3 at this step",
    ]


def test_the_keyboard_walks_the_tree(reader):
    assert reader.press("ArrowRight").startswith("“\u2068␣good\u2069” at step 1, log")
    assert reader.press("ArrowRight", "ArrowDown").endswith("at this step: good day")
    assert reader.press("ArrowRight").endswith("the end of a text: good day")
    assert reader.press("ArrowLeft", "ArrowUp").endswith("way to the chosen text: good morning")
    assert reader.press("End").endswith("the end of a text, chosen: good morning you")
    assert reader.press("ArrowRight", "ArrowUp").endswith("chosen: good morning you")
    reader.press("Home", "ArrowDown", "ArrowDown", "Escape")
    assert reader.told()[0] == "Chosen: good morning you"
    assert reader.page.locator(".node.here").count() == 0
    reader.show("60 steps of 10")
    reader.press("End", "Home", *["PageDown"] * 9)
    cursor = reader.page.locator(".node.cursor")
    assert "at step 60" in reader.told()[1]
    seen = reader.page.locator(".search-tree .scroll").bounding_box()
    box = cursor.bounding_box()
    assert seen["x"] < box["x"] < seen["x"] + seen["width"] - box["width"]


def test_the_same_in_words(reader):
    reader.page.locator(".in-words summary").click()
    reader.page.wait_for_selector(".in-words li")
    assert reader.texts(".in-words li") == [
        "“␣good” −0.200 chosen; “␣caf” −2.000; “␣the” −1.900 given up",
        "“␣morning” after “␣good” −0.900 chosen; “␣day” after “␣good” −0.800; "
        "“<0xC3>” after “␣caf” −2.100",
        "“␣you” after “␣morning” −1.400 chosen; “</s>” after “␣day” −1.550 ended; "
        "“<0xA9>” after “<0xC3>” −2.200",
        "“</s>” after “␣you” −1.600 chosen, ended; “</s>” after “<0xA9>” −2.250 ended",
    ]
    reader.show("right to left")
    assert reader.page.locator(".in-words li").count() == 0


def text_of(tree):
    """The chosen text, bytes read as UTF-8."""
    way = [tree.steps[step][place] for step, place in reversed(way_to(tree, *tree.chosen))]
    text = tree.between.join(node.token for node in way if not node.finished)
    runs = re.split(r"((?:<0x..>)+)", text)
    runs[1::2] = [
        bytes.fromhex(re.sub("<0x|>", "", run)).decode(errors="replace") for run in runs[1::2]
    ]
    return "".join(runs).replace("▁", " ").strip()


def test_tokens_of_all_kinds_are_shown_and_become_a_text(reader):
    for name, tree in TREES.items():
        if tree is not None:
            reader.show(name)
            shown = reader.page.locator(".so-far-text").text_content()
            assert shown == (text_of(tree) or "(no text)"), name
    reader.show("bytes")
    labels = {each["label"] for each in reader.drawn()}
    assert {"␣", "↵", "U+202E"} < labels <= {"</s>", "␣", "↵", "U+202E", *BYTES[5:]}


def test_a_search_that_was_left_out_is_said_to_be(browser, tmp_path):
    states = np.random.default_rng(0).normal(size=(40, 20, 30))
    large = search_tree([str(number) for number in range(500)], 10, 40, sharp=1.0)
    path = write_report(
        tmp_path / "r.html",
        title="t",
        tree=trace_of(lstm=dataset({"cell_states": states})),
        searches=[large] * 40,
        max_bytes=190_000,
    )
    page = browser.new_page()
    reader = Searcher(page, path)
    assert reader.page.locator(".search-tree .node").count() > 300
    last = page.locator("input[name=sample]").count() - 1
    reader.choose("sample", last)
    page.wait_for_selector(".tree-there", state="hidden")
    assert reader.text(".search-about") == (
        "The search for this sample was left out to keep the page small."
    )
    assert reader.troubles == []
    page.close()
