"""GRUs as nodes: ONNX Runtime computes what Keras does."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest
from keras import layers

from conveyor import GRU, LSTM, ConveyorError

from .exported import outputs, padded, randomized, run, session

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from conveyor.onnx import export  # noqa: E402

F = 3
GATES = ("hidden_states", "update_gates", "reset_gates", "candidates", "hidden_state")


def masked():
    x = keras.Input((None, F))
    return x, layers.Masking()(x)


def stacked():
    x, y = masked()
    y = layers.GRU(5, return_sequences=True, reset_after=False)(y)
    y = layers.RNN([layers.GRUCell(4), layers.GRUCell(3, use_bias=False)], return_state=True)(y)
    return keras.Model(x, y)


def inner(reset_after, **options):
    x, y = masked()
    y = GRU(4, outputs=GATES, reset_after=reset_after, **options)(y)
    return keras.Model(
        x, [*y, GRU(2, activation="softsign", recurrent_activation="hard_sigmoid")(y[1])]
    )


def both_directions():
    x, y = masked()
    side = {"return_sequences": True, "return_state": True}
    hs, *states = layers.Bidirectional(layers.GRU(4, zero_output_for_mask=True, **side))(y)
    pair = (layers.GRU(3, reset_after=False), layers.GRU(2, go_backwards=True, use_bias=False))
    first = [layers.Dense(3)(states[0]), layers.Dense(2)(states[1])]
    unlike = layers.Bidirectional(pair[0], backward_layer=pair[1])(hs, initial_state=first)
    begun = layers.Bidirectional(
        GRU(4, reset_after=False, return_sequences=True, activation="softsign"), merge_mode="mul"
    )(hs, initial_state=states)
    return keras.Model(x, [hs, *states, unlike, layers.GRU(2)(begun)])


MODELS = {
    "stacked": (stacked, 3),
    "gates, after": (lambda: inner(True, initial_state="learned"), 2),
    "gates, before, backwards": (lambda: inner(False, go_backwards=True), 2),
    "both directions": (both_directions, 5),
}


@pytest.mark.parametrize("name", MODELS)
def test_the_numbers_of_the_model(name, tmp_path):
    make, nodes = MODELS[name]
    model = randomized(make())
    known = session(model, tmp_path)
    file = onnx.load(tmp_path / "model.onnx")
    assert [node.op_type for node in file.graph.node].count("GRU") == nodes
    # Of a shape that export has run: JAX compiles each anew.
    for lengths in ((7, 2), (0, 5)):
        x = padded(lengths, 7)
        x[1, 1] = 0.0  # a hole
        for actual, expected in zip(run(known, x), outputs(model, x), strict=True):
            np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_chunks(tmp_path):
    """Among LSTMs; a GRU has one state, which begins where it learned to."""
    x, y = masked()
    y = LSTM(3, return_sequences=True, name="lstm")(y)
    y = GRU(4, return_sequences=True, initial_state="learned", name="gru")(y)
    model = randomized(keras.Model(x, layers.GRU(2, return_sequences=True, name="top")(y)))
    known = session(model, tmp_path, states=True)
    names = [i.name for i in known.get_inputs()][1:]
    assert names == ["lstm.hidden_state", "lstm.cell_state", "gru.hidden_state", "top.hidden_state"]
    sequences = padded((7, 4), 7)
    first = json.loads(known.get_modelmeta().custom_metadata_map["gru.hidden_state"])
    states = [np.zeros((2, i.shape[1]), "float32") for i in known.get_inputs()[1:]]
    states[2] += first
    written = []
    for chunk in np.split(sequences, [3, 4], axis=1):
        y, *states = run(known, [chunk, *states])
        written.append(y)
    np.testing.assert_allclose(
        np.concatenate(written, axis=1), outputs(model, sequences)[0], atol=1e-5
    )


REFUSED = {
    "cells of LSTMs among": layers.RNN([layers.GRUCell(2), layers.LSTMCell(2)]),
    "activation mish": layers.Bidirectional(GRU(2, activation="mish")),
    "stateful": GRU(2, stateful=True),
    "float64": layers.GRU(2, dtype="float64"),
}


@pytest.mark.filterwarnings("ignore:Explicitly requested dtype float64")
@pytest.mark.parametrize("message", REFUSED)
def test_what_cannot_be_exported_is_named(message, tmp_path):
    model = keras.Sequential([keras.Input((None, F)), REFUSED[message]])
    with pytest.raises(ConveyorError, match=message):
        export(model, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())
