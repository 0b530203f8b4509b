"""The report as a file: complete, safe, exact, as small as it has to be."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from keras import layers

import conveyor
from conveyor import ConveyorError
from conveyor.inspection import Attention, ReportExample, describe, report, write_report
from conveyor.inspection._packing import Packed, unpack
from report_traces import STATES, dataset, lstm_states, text_tree, tree

TEXTS = ["le 4 mai", "4 mai 2025", "am 4."]


def write(tmp_path, **arguments):
    path = write_report(tmp_path / "report.html", **({"title": "Dates"} | arguments))
    return path.read_text(encoding="utf-8")


def embedded(page):
    """The data in the page, found as a browser would find it."""
    return json.loads(re.search(r'id="conveyor-data">(.*?)</script', page, re.S)[1])


def numbers(page, layer, name):
    """(samples, steps, rows) of one state, read out of the page again."""
    state = layer["states"][name]
    data = re.search(rf'id="block-{state["block"]}">(.*?)</script', page)[1]
    shape = (state["samples"], len(layer["rows"]), layer["steps"])
    packed = Packed(data, state["bits"], tuple(state["scales"]), shape)
    return np.moveaxis(unpack(packed), 1, 2)


class Elements(HTMLParser):
    """All start tags, as a browser reads them."""

    def __init__(self, page):
        super().__init__()
        self.tags = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))


def test_the_data_are_the_states(tmp_path):
    traced = text_tree(TEXTS)
    page = write(tmp_path, tree=traced)
    (layer,) = embedded(page)["layers"]
    assert layer["path"] == "encoder"
    assert sorted(layer["rows"]) == list(range(16))
    assert layer["lengths"] == [len(text) for text in TEXTS]
    assert tuple(layer["states"]) == STATES
    for name in STATES:
        expected = traced["encoder"][name].values[..., layer["rows"]]
        half = np.array(layer["states"][name]["scales"]) / 2
        assert half.max() < 1e-4
        shown = numbers(page, layer, name)
        np.testing.assert_array_equal(np.isnan(shown), np.isnan(expected))
        assert (np.nan_to_num(np.abs(shown - expected)) <= 1.000001 * half).all()


def test_the_labels_are_the_tokens(tmp_path):
    data = embedded(write(tmp_path, tree=text_tree(TEXTS)))
    assert data["texts"] == [[list(text.replace(" ", "␣")) for text in TEXTS]]
    assert data["samples"] == ["Sample 0", "Sample 1", "Sample 2"]


def test_timestamps_stand_for_tokens_where_there_are_none(tmp_path):
    times = np.datetime64("2025-03-04") + np.arange(3)
    data = dataset(lstm_states(2, 3, 4)).assign_coords(time=times)
    (layer,) = embedded(write(tmp_path, tree=tree(lstm=data)))["layers"]
    assert layer["times"] == ["2025-03-04", "2025-03-05", "2025-03-06"]
    assert layer["textOf"] is None


def test_one_layer_of_a_trace_is_enough(tmp_path):
    page = write(tmp_path, tree=text_tree(TEXTS)["encoder"].to_dataset())
    assert embedded(page)["layers"][0]["lengths"] == [len(text) for text in TEXTS]


def test_units_keep_their_numbers_where_some_were_traced(tmp_path):
    data = dataset(lstm_states(2, 3, 4)).assign_coords(unit=[3, 7, 20, 31])
    (layer,) = embedded(write(tmp_path, tree=tree(lstm=data)))["layers"]
    assert sorted(layer["rows"]) == [3, 7, 20, 31]


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_what_is_written_at_each_step_follows_the_order_of_reading(tmp_path, direction):
    cells = np.array([[[1.0], [3.0], [np.nan], [4.0]]])
    data = dataset({"cell_states": cells}, direction=direction)
    data["initial_cell_state"] = (("sample", "unit"), [[0.5]])
    page = write(tmp_path, tree=tree(lstm=data))
    (layer,) = embedded(page)["layers"]
    block = re.search(rf'id="block-{layer["change"]["block"]}">(.*?)</script', page)[1]
    change = unpack(Packed(block, 16, tuple(layer["change"]["scales"]), (1, 1, 4)))
    expected = {"forward": [0.5, 2, 0, 1], "backward": [2, 1, 0, 3.5]}[direction]
    np.testing.assert_allclose(change[0, 0], expected, atol=1e-3)


def noise(samples, steps, units):
    rng = np.random.default_rng(0)
    shape = (samples, steps, units)
    return {name: np.tanh(rng.normal(size=shape)).astype("float32") for name in STATES}


@pytest.mark.parametrize("states", [lstm_states, noise])
def test_a_large_trace_fits_and_says_what_was_left_out(tmp_path, states):
    letters = np.random.default_rng(0).choice(list("abcdefgh "), (60, 50))
    samples, units = 60, 96
    traced = states(samples, 50, units)
    arguments = {"tree": tree(lstm=dataset(traced, letters.tolist())), "max_bytes": 450_000}
    page = write(tmp_path, **arguments)
    assert 300_000 < len(page.encode()) <= 450_000
    (layer,) = embedded(page)["layers"]
    kept, gates = layer["rows"], layer["states"]["forget_gates"]["samples"]
    assert layer["states"]["cell_states"]["samples"] == samples
    assert 1 <= gates < samples
    assert 32 <= len(kept) < units
    assert f"{len(kept)} of its {units} units are here" in page
    assert f"candidates, output_gates for the first {gates}." in page
    variance = traced["cell_states"].var((0, 1))
    assert variance[kept].min() >= np.delete(variance, kept).max()
    half = np.array(layer["states"]["cell_states"]["scales"]) / 2
    shown = numbers(page, layer, "cell_states")
    assert (np.abs(shown - traced["cell_states"][..., kept]) <= 1.000001 * half).all()
    said = float(re.search(r"8 bits: cell_states to ±([\d.e-]+)", page)[1])
    assert said >= half.max()


def test_samples_go_last(tmp_path):
    traced = tree(lstm=dataset(noise(400, 40, 32)))
    page = write(tmp_path, tree=traced, max_bytes=400_000)
    data = embedded(page)
    shown = data["layers"][0]["states"]["cell_states"]["samples"]
    assert f"The first {shown} of 400 samples are here." in page
    assert len(data["samples"]) == page.count('name="sample"') == shown < 400


def test_a_page_that_cannot_be_so_small_says_so(tmp_path):
    with pytest.raises(ConveyorError, match="fits into max_bytes=10,000"):
        write(tmp_path, tree=text_tree(TEXTS), max_bytes=10_000)


def everything(texts=TEXTS):
    flow = SimpleNamespace(
        d_hidden_states=np.geomspace(1e-9, 1e-2, 6),
        d_cell_states=np.array([0.0, 1e-4, np.nan, 1e-3, 1e-3, 1e-2]),
        d_inputs=np.zeros(6),
        memory_length=4.5,
        verdict="Halves every two steps.",
    )
    rng = np.random.default_rng(0)
    return {
        "tree": text_tree(texts),
        "flows": describe(layers.LSTM(64), (20, 32)),
        "summary": {"engine": "native"},
        "gradients": SimpleNamespace(layers={"encoder": flow}),
        "health": {"encoder": ["The input gate is shut."]},
        "attention": Attention(
            rng.dirichlet(np.ones(12), (len(texts), 4)), ["2025"] * len(texts), texts
        ),
        "beams": [[("2025", -0.1), ("2052", -2.5)]] * len(texts),
    }


def test_nothing_is_loaded_from_anywhere(tmp_path):
    page = write(tmp_path, **everything())
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
    def page(text):
        given = everything(["ab", "cd"])
        flow = SimpleNamespace(**{**vars(given["gradients"].layers["encoder"]), "verdict": text})
        given["gradients"] = {text: flow}
        given["health"] = {text: [text]}
        given["beams"] = [[(text, 0.0)]] * 2
        given["attention"] = Attention(np.ones((2, 1, 1)), [[text]] * 2, [[text]] * 2)
        given["summary"] = {text: text}
        # Neither Keras nor xarray wants a slash in a name.
        name = text.replace("/", "")
        given["flows"] = describe(layers.LSTM(4, name=name), (3, 2))
        tokens = [["$title", text], [text, "<!--"]]
        given["tree"] = tree(**{name: dataset(lstm_states(2, 2, 3), tokens)})
        given["examples"] = [ReportExample(text, text, text, text + "!", text)] * 2
        return write(tmp_path, **given, title=text)

    attacked, plain = page(ATTACK), page("en")
    tags, usual = Elements(attacked).tags, Elements(plain).tags
    for tag in ("script", "img", "svg", "li"):
        assert [t for t, _ in tags].count(tag) == [t for t, _ in usual].count(tag), tag
    assert not any(name.startswith("on") for _, attributes in tags for name in attributes)
    shown = ATTACK.replace(" ", "␣")
    assert embedded(attacked)["texts"] == [[["$title", shown], [shown, "<!--"]]]


def test_scripts_of_the_world_keep_the_order_of_time(tmp_path):
    arabic = "٤ مايو"
    page = write(
        tmp_path, tree=text_tree([arabic]), examples=[ReportExample("t", arabic, language="ar")]
    )
    assert embedded(page)["texts"] == [[[c.replace(" ", "␣") for c in arabic]]]
    assert f'<bdi class="source" lang="ar">{arabic}</bdi>' in page


def test_the_verdict(tmp_path):
    given = [
        ReportExample("right", "4 mai", "05-04", "05-04"),
        ReportExample("wrong", "4 mai", "05-04", "04-05"),
        ReportExample("unknown", "4 mai", "05-04"),
    ]
    page = write(tmp_path, tree=text_tree(TEXTS), examples=given)
    right, wrong, unknown = page.partition('<ol class="samples"')[2].split("</li>")[:3]
    assert '<span class="verdict right">as expected</span>' in right
    assert "expected <bdi>04-05</bdi></span>" in wrong
    assert "verdict" not in unknown


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


def test_folders_are_made_and_half_characters_do_no_harm(tmp_path):
    path = write_report(tmp_path / "a" / "b.html", title="half \ud83d", tree=text_tree(TEXTS))
    assert path == tmp_path / "a" / "b.html"
    assert path.exists()


def test_gradients_are_drawn_where_they_are_known(tmp_path):
    page = write(tmp_path, gradients=everything()["gradients"])
    cell, hidden, inputs = re.findall(r'<polyline points="([^"]*)"', page)
    assert "Memory of 4.5 steps. Halves every two steps." in page
    heights = [float(point.split(",")[1]) for point in hidden.split()]
    np.testing.assert_allclose(np.diff(heights), np.diff(heights)[0], atol=0.2)  # geometric: a line
    assert len(heights) == 6
    assert len(cell.split()) == 5  # without NaN
    assert {point.split(",")[1] for point in inputs.split()} == {cell.split()[0].split(",")[1]}


def test_health_of_a_layer_without_advice_is_said_too(tmp_path):
    page = write(tmp_path, health={"encoder": (), "decoder": "x!\ny < 1"})
    assert "<h3>encoder</h3><p>Nothing wrong was found.</p>" in page
    assert "<li>x!</li><li>y &lt; 1</li>" in page


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"tree": tree(lstm=dataset({"other": np.ones((1, 2, 3))}))}, "one without any of these"),
        ({"tree": tree(lstm=dataset({"cell_states": np.ones((1, 0, 3))}))}, r"\(1, 0, 3\)"),
        ({"tree": {"lstm": np.ones((1, 2, 3))}}, "a trace, or the dataset of one layer.*got dict"),
        ({"examples": [ReportExample("a")]}, "tree=conveyor.trace"),
        ({"tree": text_tree(TEXTS), "examples": [ReportExample("a")]}, "each of the 3 samples"),
        ({"tree": text_tree(TEXTS), "beams": [[]]}, "each of the 3 samples; got 1"),
        ({"gradients": [1, 2]}, "gradient_flow"),
        ({"health": "fine"}, "conveyor.health"),
        (
            {
                "tree": text_tree(["ab"]),
                "attention": Attention(np.ones((1, 2, 2)), ["abc"], ["ab"]),
            },
            "2 of target, 2 of source; got 3 and 2 in sample 0",
        ),
        (
            {"tree": text_tree(["ab"]), "attention": Attention(np.ones((2, 2)), ["ab"], ["ab"])},
            r"weights \(2, 2\), 1 lists in target",
        ),
    ],
)
def test_input_that_does_not_fit_is_told_what_would(tmp_path, given, wanted):
    with pytest.raises(ConveyorError, match=wanted):
        write(tmp_path, **given)
    assert not (tmp_path / "report.html").exists()


def model_of(*names, kind=conveyor.LSTM):
    parts = [kind(3, return_sequences=True, name=name) for name in names]
    return keras.Sequential([keras.Input((4, 2)), *parts, layers.Dense(1)], name="reader")


X = np.random.default_rng(0).normal(size=(3, 4, 2)).astype("float32")


@pytest.mark.parametrize("kind", [conveyor.LSTM, layers.LSTM])
def test_report_shows_every_layer_of_a_model(tmp_path, kind):
    model = model_of("first", "second", kind=kind)
    text = ["mai ", "juin", "août"]
    path = report(model, X, tmp_path / "r.html", text=text, summary={"loss": "0.1"})
    page = path.read_text(encoding="utf-8")
    data = embedded(page)
    assert [layer["path"] for layer in data["layers"]] == ["first", "second"]
    assert [layer["textOf"] for layer in data["layers"]] == [0, 0]
    assert data["texts"][0][2] == list("août")
    assert "<title>reader</title>" in page
    assert page.count('<div class="lane">') == 2
    traced = conveyor.trace(model, X)
    for layer in data["layers"]:
        expected = traced[layer["path"]]["hidden_states"].values[..., layer["rows"]]
        np.testing.assert_allclose(numbers(page, layer, "hidden_states"), expected, atol=1e-4)


def test_layers_come_in_the_order_of_the_model(tmp_path):
    both = layers.Bidirectional(layers.LSTM(2, return_sequences=True, name="lstm"), name="both")
    model = keras.Sequential([keras.Input((4, 2)), both, conveyor.LSTM(3, name="reader")])
    page = report(model, X, tmp_path / "r.html").read_text(encoding="utf-8")
    paths = [layer["path"] for layer in embedded(page)["layers"]]
    assert paths == ["both/forward_lstm", "both/backward_lstm", "reader"]


def test_report_tells_health_and_with_y_how_far_gradients_reach(tmp_path):
    model = model_of("lstm")
    y = np.zeros((3, 4, 1), "float32")
    plain = report(model, X, tmp_path / "r.html").read_text(encoding="utf-8")
    assert "How far gradients reach" not in plain
    page = report(model, X, tmp_path / "r.html", y=y, loss="mse").read_text(encoding="utf-8")
    flow = conveyor.gradient_flow(model, X, y, loss="mse").layers["lstm"]
    reach = f"Memory of {flow.memory_length:.3g} steps."
    if np.isinf(flow.memory_length):
        reach = "The memory reaches back beyond the first step."
    assert f"{reach} {flow.verdict.capitalize()}" in page
    assert page.count("<polyline") == 3
    checked = conveyor.health(conveyor.trace(model, X)).layers["lstm"]
    row = re.search(r"forget gates</th><td[^>]*>([^<]*)<", page)
    assert row[1] == f"{checked.left_saturated['forget_gates'].mean():.1%}"


def test_report_takes_timestamps(tmp_path):
    path = report(model_of("lstm"), X, tmp_path / "r.html", time=[10, 20, 30, 45])
    (layer,) = embedded(path.read_text(encoding="utf-8"))["layers"]
    assert layer["times"] == ["10", "20", "30", "45"]


@pytest.mark.parametrize(
    ("model", "text", "wanted"),
    [
        (keras.Sequential([keras.Input((4, 2)), layers.Dense(3)]), None, "an LSTM or a GRU inside"),
        (keras.Sequential([layers.LSTM(3)]), None, "which is not built"),
        (conveyor.LSTM(3, name="lstm"), None, 'LSTM "lstm", which is not built'),
        (model_of("lstm"), "mai", r"one text, 'mai'"),
        (model_of("lstm"), ["mai ", "juin"], "each of the 3 samples"),
        (model_of("lstm"), ["mai ", "juin", "juillet"], "4 steps of sample 2; got 7 tokens"),
        ("model", None, "a Keras model"),
    ],
)
def test_report_teaches_what_it_needs(tmp_path, model, text, wanted):
    with pytest.raises(ConveyorError, match=wanted):
        report(model, X, tmp_path / "r.html", text=text)
    assert not (tmp_path / "r.html").exists()


def test_the_text_that_does_not_fit_is_named_as_the_user_names_it(tmp_path):
    with pytest.raises(ConveyorError) as raised:
        report(model_of("lstm"), X, tmp_path / "r.html", text=["mai "] * 2)
    assert "text=" in "".join(raised.value.__notes__)
