"""explain(): the words, in a terminal and in a notebook."""

from __future__ import annotations

import re

import keras
import numpy as np
import pytest
from keras import layers

import conveyor
from conveyor.inspection import explain
from conveyor.layers import recording


def words(*args):
    """The text with its frame and line breaks taken away."""
    return " ".join(str(explain(*args)).replace("│", " ").split())


def test_the_walk_has_the_numbers_in_order():
    text = words(layers.LSTM(64), (20, 32))
    stations = [
        "(batch, time_steps, features) (batch, 20, 32)",
        "x_t: (features,) (32,)",
        "[h, x]: (units + features,) (96,)",
        "f = sigmoid(W_f [h, x] + b_f) W (64, 96), b (64,)",
        "c_t = f * c_{t-1} + i * g (64,)",
        "h_t = o * tanh(c_t) (64,)",
        "returned hidden_state (batch, 64)",
        "4 * ((units + features) * units + units) = 4 * ((64 + 32) * 64 + 64) = 24,832",
    ]
    places = [text.index(station) for station in stations]
    assert places == sorted(places)
    assert "units=64 is the length of h and of c, not a number of cells" in text


def test_no_line_is_wider_than_a_page():
    lines = str(explain(layers.LSTM(1024, return_state=True), (None, 2048))).splitlines()
    assert max(map(len, lines)) <= 92


def test_other_activations_and_no_bias_are_told_as_they_are():
    layer = layers.LSTM(4, activation="relu", recurrent_activation="hard_sigmoid", use_bias=False)
    text = words(layer, (5, 3))
    assert "f = hard_sigmoid(W_f [h, x]) W (4, 7)" in text
    assert "h_t = o * relu(c_t)" in text
    assert "4 * ((4 + 3) * 4) = 112" in text
    assert "tanh" not in text
    assert "bias" not in text


def test_return_state_gives_three_and_the_line_for_two():
    text = words(layers.LSTM(64, return_state=True), (20, 32))
    assert "three tensors, not two: output, hidden_state, cell_state" in text
    assert "conveyor.LSTM(64, outputs=('hidden_state', 'cell_state'))" in text
    assert "Without return_sequences=True the output is the hidden_state once more." in text


def test_both_flags_name_what_the_article_left_out():
    text = words(layers.LSTM(64, return_sequences=True, return_state=True), (20, 32))
    assert "the article's code for this case leaves it out" in text
    assert "once more" not in text


def test_nothing_is_said_about_flags_that_are_not_set():
    quiet = words(conveyor.LSTM(64, outputs=("hidden_state", "cell_state")), (20, 32))
    assert "return_state" not in quiet
    assert "article" not in quiet


@pytest.mark.parametrize(
    ("merge_mode", "result"),
    [("concat", "side by side: (batch, 9, 8)"), ("sum", "added: (batch, 9, 4)"), (None, "as two")],
)
def test_bidirectional_says_what_becomes_of_two_directions(merge_mode, result):
    lstm = layers.LSTM(4, return_sequences=True)
    text = words(layers.Bidirectional(lstm, merge_mode=merge_mode), (9, 5))
    assert result in text
    assert text.count("Bidirectional gives") == 1
    assert "This direction reads the last time step first." in text


def test_further_layers_take_one_line():
    model = keras.Sequential(
        [layers.LSTM(4, return_sequences=True, name="a"), layers.LSTM(2, name="b")]
    )
    text = words(model, (9, 5))
    assert "(batch, 9, 4) → [h, x] (6,) → four W (2, 6) → hidden_state (batch, 2)" in text
    assert text.count("forget gate") == 1


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_the_memory_is_that_of_the_arrays(dtype):
    layer = conveyor.LSTM(3, name="lstm", dtype=dtype, recurrent_initializer="glorot_uniform")
    with recording() as records:
        layer(np.ones((32, 7, 2), dtype))
    states = {n: keras.ops.convert_to_numpy(s) for n, s in records[0].states.items()}
    two = states["hidden_states"].nbytes + states["cell_states"].nbytes
    eight = sum(state.nbytes for state in states.values())
    size = states["cell_states"].itemsize
    text = words(layer)
    assert f"a batch of 32 in {dtype}, {size} bytes a number" in text
    assert f"2 * time_steps * batch * units * {size} = 2 * 7 * 32 * 3 * {size} = {two:,}" in text
    assert f"= (6 * 7 + 2) * 32 * 3 * {size} = {eight:,} bytes" in text


def test_the_memory_of_any_number_of_steps_is_told_for_one():
    text = words(layers.LSTM(64), (None, 8))
    assert "2 * time_steps * 32 * 64 * 4: 16,384 bytes (16 KiB) each time step" in text
    assert "(6 * time_steps + 2) * 32 * 64 * 4: 49,152 bytes (48 KiB) each time step" in text


def test_large_sizes_are_rounded_to_units_of_1024():
    text = words(layers.LSTM(1024), (2048, 8))
    assert re.search(r"= 536,870,912 bytes \(512 MiB\)", text)
    assert re.search(r"= 1,610,874,880 bytes \(1.5 GiB\)", text)


def test_html_is_escaped_and_has_both_drawings_for_each():
    page = explain(layers.LSTM(4, name="<b>x"), (5, 3))._repr_html_()
    assert "<b>&lt;b&gt;x</b>" in page
    assert page.count("<svg") == page.count("</svg>") == 2
    assert "2 * 5 * 32 * 4 * 4 = 5,120 bytes (5 KiB)" in page
