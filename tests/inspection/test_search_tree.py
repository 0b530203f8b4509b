"""The search in the report: the tree as data, checked, packed, and as much of it as fits."""

from __future__ import annotations

import base64
import json
import re
import zlib

import numpy as np
import pytest

from conveyor import ConveyorError
from conveyor.inspection import SearchNode, SearchTree, report, write_report
from report_traces import dataset, text_tree, tree
from search_trees import search_tree

TOKENS = ["</s>", "▁good", "▁day", "s", " ", "<0xC3>", "\u202e", "\ud83d", "</script>"]


def nodes(*given):
    return [SearchNode(*node) for node in given]


def test_arrays_become_the_tree_of_the_beams_in_use():
    inf = np.inf
    made = SearchTree.from_arrays(
        np.array([["a", "b", "c"], ["d", "", "e"], ["", "f", ""], ["", "", ""]]),
        [[0, 0, 0], [2, 1, 0], [0, 2, 0], [0, 0, 0]],
        [[-1, -2, -3], [-3.5, -inf, -1.5], [-inf, -4, -inf], [-inf] * 3],
        np.arange(12).reshape(4, 3) == 7,
        chosen=(2, 1),
    )
    assert made.steps == [
        nodes(("a", None, -1), ("b", None, -2), ("c", None, -3)),
        nodes(("d", 2, -3.5), ("e", 0, -1.5)),
        nodes(("f", 1, -4, True)),
    ]
    assert made.chosen == (2, 0)


FIRST = nodes(("a", None, -1.0), ("b", None, -2.0, True))


@pytest.mark.parametrize(
    ("steps", "chosen", "wanted"),
    [
        ([], (0, 0), "got no steps.*Write None"),
        ([FIRST, []], (0, 0), "none in step 1"),
        ([nodes((7, None, -1.0))], (0, 0), "tokens as text; got 7 in step 0, node 0"),
        ([nodes(("a", None, np.nan))], (0, 0), "numbers; got nan"),
        ([nodes(("a", 0, -1.0))], (0, 0), "no parents in the first step"),
        ([FIRST, nodes(("c", 2, -3.0))], (0, 0), "2 nodes: 0 to 1; got parent=2 in step 1, node 0"),
        ([FIRST, nodes(("c", -1, -3.0))], (0, 0), "got parent=-1"),
        ([FIRST, nodes(("c", None, -3.0))], (0, 0), "got parent=None"),
        ([FIRST, nodes(("c", True, -3.0))], (0, 0), "got parent=True"),
        ([FIRST, nodes(("c", 1, -3.0))], (0, 0), "parent=1 in step 1, node 0, which had finished"),
        (
            [FIRST, nodes(("c", 0, -0.5))],
            (0, 0),
            "never rise; got -0.5 in step 1, node 0, after -1",
        ),
        ([FIRST], (0, 2), r"got \(0, 2\), and 1 steps of 2 to 2 nodes"),
        ([FIRST], (1, 0), r"got \(1, 0\)"),
        ([FIRST], 0, "got 0, and"),
    ],
)
def test_what_is_no_tree_is_told_why(steps, chosen, wanted):
    with pytest.raises(ConveyorError, match=f"(?s){wanted}"):
        SearchTree(steps, chosen)


@pytest.mark.parametrize(
    ("changed", "wanted"),
    [
        ({"parents": [[-1, -1, -1]]}, r"got \(2, 2\), \(1, 3\), \(2, 2\) and \(2, 2\)"),
        ({"tokens": [["a"], ["b", "c"]]}, r"got \(2,\), \(2, 2\)"),
        ({"parents": [[-1, -1], [1, 0]]}, "parent=-1 in step 1, node 0"),
        ({"log_probabilities": np.full((2, 2), -np.inf)}, "got no steps"),
        ({"chosen": (1, 1)}, r"got \(1, -1\)"),
    ],
)
def test_arrays_that_are_no_tree(changed, wanted):
    given = {
        "tokens": [["a", ""], ["b", ""]],
        "parents": [[-1, -1], [0, -1]],
        "log_probabilities": [[-1, -np.inf], [-2, -np.inf]],
        "finished": np.zeros((2, 2)),
        "chosen": (1, 0),
    }
    with pytest.raises(ConveyorError, match=wanted):
        SearchTree.from_arrays(**given | changed)


def page_of(tmp_path, **arguments):
    path = write_report(tmp_path / "r.html", title="t", **arguments)
    return path.read_text(encoding="utf-8")


def embedded(page, name):
    return json.loads(re.search(r'id="conveyor-data">(.*?)</script', page, re.S)[1])[name]


def searches_in(page):
    """The trees in a page; None for a sample without, -1 where it was left out."""

    def unpacked(block):
        packed = re.search(rf'id="block-{block}">(.*?)</script', page)[1]
        return json.loads(zlib.decompress(base64.b64decode(packed), -15))

    return [
        block if block in (None, -1) else unpacked(block) for block in embedded(page, "searches")
    ]


def test_the_page_has_every_node(tmp_path):
    given = search_tree(TOKENS, beams=5, steps=12, between=" ")
    page = page_of(tmp_path, tree=text_tree(["ab"] * 3), searches=[None, given, None])
    before, shown, after = searches_in(page)
    assert before is after is None
    assert shown["chosen"] == list(given.chosen)
    assert shown["between"] == " "
    assert len(shown["steps"]) == len(given.steps) > 4
    for step, truth in zip(shown["steps"], given.steps, strict=True):
        assert [shown["texts"][token] for token in step["tokens"]] == [n.token for n in truth]
        assert step["parents"] == [-1 if n.parent is None else n.parent for n in truth]
        np.testing.assert_allclose(step["logs"], [n.log_probability for n in truth], atol=6e-5)
        assert step["ends"] == [place for place, n in enumerate(truth) if n.finished]
    labels = dict(zip(shown["texts"], shown["labels"], strict=True))
    assert labels["▁good"] == "␣good"
    wanted = {" ": "␣", "\u202e": "U+202E", "\ud83d": "U+D83D"}
    assert {text: labels[text] for text in wanted if text in labels} == {
        text: label for text, label in wanted.items() if text in labels
    }
    assert 'class="card search-tree"' in page
    assert "search-tree" not in re.sub(
        r"<(script|style)>.*?</\1>", "", page_of(tmp_path, tree=text_tree(["ab"])), flags=re.S
    )


def test_searches_share_a_small_page_with_the_states(tmp_path):
    many = 120
    one = search_tree([f"{number}" for number in range(500)], beams=10, steps=60, sharp=1.0)
    states = {"cell_states": np.random.default_rng(0).normal(size=(many, 30, 40))}
    arguments = {"tree": tree(lstm=dataset(states)), "searches": [one] * many}
    page = page_of(tmp_path, **arguments, max_bytes=600_000)
    assert 400_000 < len(page.encode()) <= 600_000
    shown = searches_in(page)
    here = [tree for tree in shown if tree != -1]
    assert 0 < len(here) < len(shown) == len(embedded(page, "samples"))
    assert shown[: len(here)] == here
    assert f"{len(here)} searches are here, {len(shown) - len(here)} were left out." in page
    large = page_of(tmp_path, **arguments)
    assert -1 not in searches_in(large)
    assert len(searches_in(large)) == many
    assert "searches are here" not in large


@pytest.mark.parametrize(
    ("searches", "wanted"),
    [
        ([None], "a SearchTree for each of the 2 samples; got 1"),
        (search_tree("ab", 1, 1), "got one alone"),
        ([None, [FIRST]], "got list for sample 1"),
    ],
)
def test_searches_that_do_not_fit_the_samples(tmp_path, searches, wanted):
    with pytest.raises(ConveyorError, match=wanted):
        page_of(tmp_path, tree=text_tree(["ab", "cd"]), searches=searches)
    with pytest.raises(ConveyorError, match=r"tree=conveyor\.trace"):
        page_of(tmp_path, searches=searches)


def test_report_takes_searches(tmp_path):
    import keras

    model = keras.Sequential([keras.Input((2, 3)), keras.layers.LSTM(2)])
    given = search_tree(TOKENS, 3, 4)
    path = report(model, np.ones((1, 2, 3)), tmp_path / "r.html", searches=[given])
    (shown,) = searches_in(path.read_text(encoding="utf-8"))
    assert len(shown["steps"]) == len(given.steps)
