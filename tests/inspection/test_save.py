"""explain(...).save(): drawings and pages that read wherever they are put."""

from __future__ import annotations

import re
import struct
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import layers

from conveyor import GRU, LSTM, ConveyorError
from conveyor.inspection import describe, explain
from conveyor.inspection._sheet import draw_sheet

pytestmark = pytest.mark.any_backend

SVG = "{http://www.w3.org/2000/svg}"
LIGHT = {"#22242a", "#ffffff", "#c9650a", "#2565b8"}
DARK = {"#e9e6df", "#181b20", "#f0913a", "#6aa9f4"}


@pytest.fixture
def stack():
    first = layers.Bidirectional(LSTM(4, return_sequences=True, name="lstm"), name="both")
    last = layers.LSTM(1024, name="last")
    return explain(keras.Sequential([keras.Input((9, 5)), first, last]))


def paints(root):
    values = {node.get(name) for node in root.iter() for name in ("fill", "stroke")}
    return values - {None, "none"}


def texts(root):
    return ["".join(node.itertext()) for node in root.iter(f"{SVG}text")]


def test_a_drawing_has_every_layer_with_its_numbers(stack, tmp_path) -> None:
    path = stack.save(tmp_path / "deep" / "flow.svg")
    root = ElementTree.parse(path).getroot()
    shown = texts(root)
    headings = [text for text in shown if "LSTM(" in text]
    assert headings == [
        "both/forward_lstm: conveyor.LSTM(4)",
        "both/backward_lstm: conveyor.LSTM(4), backward",
        "last: keras.layers.LSTM(1024)",
    ]
    assert "Wf (4, 9)" in shown
    assert "Wf (1024, 1032)" in shown
    assert (
        "Bidirectional gives the outputs of both directions side by side: (batch, 9, 8)." in shown
    )
    assert shown.count("x9") == 3  # the row of time steps
    bottom = float(root.get("height"))
    assert root.get("viewBox") == f"0 0 780 {bottom:g}"
    tops = [
        float(g.get("transform")[:-1].split()[1])
        for g in root.iter(f"{SVG}g")
        if g.attrib.get("transform")
    ]
    assert tops == sorted(tops)
    assert tops[-1] + 236 < bottom


def test_the_colours_are_in_the_file_and_exchanged_for_dark_readers(stack, tmp_path) -> None:
    root = ElementTree.parse(stack.save(tmp_path / "flow.svg")).getroot()
    assert paints(root) == LIGHT
    style = root.find(f"{SVG}style").text
    assert style.startswith("@media (prefers-color-scheme:dark)")
    rules = re.findall(r'\[(fill|stroke)="(#\w+)"\]\{(fill|stroke):(#\w+)\}', style)
    assert {(paint, light) for paint, light, _, _ in rules} == {
        (paint, light) for paint in ("fill", "stroke") for light in LIGHT
    }
    assert all(paint == other for paint, _, other, _ in rules)
    assert {dark for *_, dark in rules} == DARK


@pytest.mark.parametrize(("kind", "name"), [(LSTM, "flow"), (GRU, "gru")])
def test_the_drawing_in_the_docs_is_what_is_drawn(kind, name) -> None:
    there = Path(__file__).parents[2] / "docs" / "images" / f"{name}.svg"
    layer = kind(64, return_sequences=True, name="encoder")
    assert there.read_text("utf-8") == draw_sheet(explain(layer, (20, 32)).flows)


@pytest.mark.parametrize(("dark", "colours"), [(True, DARK), (False, LIGHT)])
def test_a_background_can_be_fixed(stack, tmp_path, dark, colours) -> None:
    path = stack.save(tmp_path / "flow.svg", dark=dark)
    root = ElementTree.parse(path).getroot()
    assert paints(root) == colours
    assert root.find(f"{SVG}style") is None
    page = stack.save(tmp_path / "flow.html", dark=dark).read_text("utf-8")
    assert f"color-scheme: {'dark' if dark else 'light'};" in page


@given(
    name=st.text(max_size=200),
    units=st.integers(1, 10**6),
    time_steps=st.none() | st.integers(1, 10**6),
)
def test_any_name_and_any_numbers_make_a_drawing(name, units, time_steps) -> None:
    (flow,) = describe(layers.LSTM(3), (time_steps, 2))
    flow = replace(flow, name=name, units=units)
    root = ElementTree.fromstring(draw_sheet((flow,)).encode("utf-8", "xmlcharrefreplace"))
    assert paints(root) == LIGHT
    assert f"Wf ({units}, {units + 2})" in texts(root)


def test_a_name_that_looks_like_a_colour_stays_a_name() -> None:
    (flow,) = describe(layers.LSTM(3), (5, 2))
    root = ElementTree.fromstring(draw_sheet((replace(flow, name='fill="currentColor"'),)))
    assert texts(root)[0].startswith('fill="currentColor": ')


def test_a_page_holds_all_that_a_notebook_shows_and_loads_nothing(stack, tmp_path) -> None:
    page = stack.save(tmp_path / "flow.HTML").read_text("utf-8")
    assert page.count("<svg") == page.count("</svg>") == 6
    assert page.count("<table>") == 3
    assert "How the data flows through <bdi>both/forward_lstm" in page
    assert "color-scheme: light dark;" in page
    assert not re.search(r"(src|href)=|url\(|@import|<script", page)
    inside = re.search(r"<main>(.*)</main>", page, re.DOTALL)[1]
    assert inside in stack._repr_html_()


@pytest.mark.parametrize("dark", [None, False, True])
def test_a_picture_has_the_background_and_the_ink_of_its_drawing(stack, tmp_path, dark) -> None:
    pytest.importorskip("resvg_py")
    image = pytest.importorskip("matplotlib.image")
    path = stack.save(tmp_path / "flow.png", dark=dark)
    height = float(re.search(r'height="([\d.]+)"', draw_sheet(stack.flows))[1])
    assert struct.unpack(">II", path.read_bytes()[16:24]) == (2 * 780, round(2 * height))
    pixels = (image.imread(path)[..., :3] * 255).round().astype(int) @ (65536, 256, 1)
    there = {f"#{pixel:06x}" for pixel in np.unique(pixels)}
    wanted, other = (DARK, LIGHT) if dark else (LIGHT, DARK)
    assert wanted <= there
    assert not other & there
    assert f"#{pixels[0, 0]:06x}" == ("#181b20" if dark else "#ffffff")


def test_a_picture_shows_the_letters(tmp_path) -> None:
    pytest.importorskip("resvg_py")
    image = pytest.importorskip("matplotlib.image")
    one, same, other = (
        image.imread(explain(layers.LSTM(units, name="a"), (5, 3)).save(tmp_path / f"{n}.png"))
        for n, units in enumerate((64, 64, 65))
    )
    assert (one == same).all()
    assert (one != other).any()


@pytest.mark.parametrize("missing", ["resvg_py", "matplotlib"])
def test_without_the_extra_a_picture_says_what_to_install(tmp_path, monkeypatch, missing) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    explanation = explain(layers.LSTM(4), (5, 3))
    with pytest.raises(ConveyorError, match=re.escape('pip install "conveyor[inspect]"')):
        explanation.save(tmp_path / "flow.png")
    assert explanation.save(tmp_path / "flow.svg").exists()
    assert not (tmp_path / "flow.png").exists()


@pytest.mark.parametrize(
    ("path", "said"),
    [
        (
            "flow.jpg",
            "a name that ends in .svg, .html, .png; got 'flow.jpg'.\nWrite save(\"flow.svg\")",
        ),
        ("flow", 'Write save("flow.svg")'),
        (7, "the name of a file; got int"),
    ],
)
def test_other_names_are_told_which_work(path, said) -> None:
    with pytest.raises(ConveyorError, match=re.escape(said)):
        explain(layers.LSTM(4), (5, 3)).save(path)
