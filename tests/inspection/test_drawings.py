"""The SVG drawings: well-formed, with the numbers, for any numbers."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from keras import layers

import conveyor
from conveyor.inspection import describe, draw_cell, draw_time_steps


def texts(svg):
    root = ElementTree.fromstring(svg)
    return ["".join(node.itertext()) for node in root.iter("{http://www.w3.org/2000/svg}text")]


def flow_of(layer, shape):
    return describe(layer, shape)[0]


def test_every_wire_and_gate_has_its_shape():
    shown = texts(draw_cell(flow_of(layers.LSTM(64), (20, 32))))
    assert shown.count("(64,)") == 4  # c and h, before and after
    assert shown.count("(32,)") == 1
    assert shown.count("(96,)") == 1
    for gate in "fico":
        assert f"W{gate} (64, 96)" in shown
        assert f"b{gate} (64,)" in shown
    assert shown.count("σ") == 3
    assert shown.count("tanh") == 2


def test_the_cell_is_drawn_with_its_own_activations():
    layer = layers.LSTM(4, activation="relu", recurrent_activation="hard_sigmoid", use_bias=False)
    shown = texts(draw_cell(flow_of(layer, (5, 3))))
    assert shown.count("relu") == 2
    assert shown.count("hard_sigmoid") == 3
    assert "bf none" in shown


@pytest.mark.parametrize(
    ("time_steps", "expected"),
    [
        (1, ["x1"]),
        (4, ["x1", "x2", "x3", "x4"]),
        (20, ["x1", "x2", "x3", "x20"]),
        (None, ["x1", "x2", "x3", "xT"]),
    ],
)
def test_few_steps_are_all_drawn_and_many_shortened(time_steps, expected):
    flow = flow_of(layers.LSTM(4), (time_steps, 3))
    assert [text for text in texts(draw_time_steps(flow)) if text.startswith("x")] == expected


def test_backwards_begins_with_the_last_step():
    flow = flow_of(layers.LSTM(4, go_backwards=True), (3, 3))
    shown = [text for text in texts(draw_time_steps(flow)) if text.startswith("x")]
    assert shown == ["x3", "x2", "x1"]


def test_what_is_returned_stands_at_its_step():
    last_only = texts(draw_time_steps(flow_of(layers.LSTM(4, return_state=True), (3, 3))))
    assert [text for text in last_only if text[0] in "hc"] == ["h1", "h2", "h3, c3"]
    gates = conveyor.LSTM(4, outputs=("forget_gates", "cell_state"))
    shown = texts(draw_time_steps(flow_of(gates, (3, 3))))
    assert [text for text in shown if text[0] in "fc"] == ["f1", "f2", "f3, c3"]


def test_drawings_follow_the_page_and_load_nothing():
    flow = flow_of(layers.LSTM(4), (3, 3))
    for svg in (draw_cell(flow), draw_time_steps(flow)):
        assert 'stroke="currentColor"' in svg
        assert "url(" not in svg
        assert "href" not in svg
