"""Every LSTM of the literature as ONNX: attributes of the node, or a loop over the equations."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from conveyor import LSTM, LSTMCell
from conveyor._vocabulary import STATE_NAMES
from conveyor.activations import HardSigmoid

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from conveyor.onnx import load_lstm  # noqa: E402
from onnx_nodes.exported import outputs, padded, randomized, run, session  # noqa: E402

F = 3
OF_A_NODE = {
    "peephole": True,
    "coupled": True,
    "clip": 0.6,
    "output_activation": "softsign",
    "recurrent_activation": HardSigmoid(0.3),
    "recurrent_weight_dropout": 0.2,
}
EVERYTHING = {
    **OF_A_NODE,
    "output_transform": True,
    "projection": 2,
    "layer_norm": ("joint", "cell"),
    "zoneout": (0.1, 0.2),
    "cell_clip": 0.5,
}


def check(model, known):
    # Of the shapes that the export looks at, for which JAX has compiled the model.
    for lengths, steps in (((7, 2), 7), ((0, 5), 7), ((0,), 1)):
        x = padded(lengths, steps)
        for actual, expected in zip(run(known, x), outputs(model, x), strict=True):
            assert actual.shape == expected.shape
            np.testing.assert_allclose(actual, expected, atol=2e-5, rtol=1e-4)


def operators(folder):
    nodes = onnx.load(folder / "model.onnx").graph.node
    return [node.op_type for node in nodes if node.op_type in ("LSTM", "Scan")]


def test_one_node_with_attributes(tmp_path):
    x = keras.Input((None, F))
    both = layers.Bidirectional(LSTM(4, return_sequences=True, **OF_A_NODE))
    model = randomized(keras.Model(x, both(layers.Masking()(x))))
    check(model, session(model, tmp_path))
    assert operators(tmp_path) == ["LSTM"]
    again = load_lstm(tmp_path / "model.onnx")
    for side in (again.forward_layer, again.backward_layer):
        assert (side.peephole, side.coupled, side.use_bias) == (True, True, True)
        assert side.clip == pytest.approx(0.6)
        assert side.output_activation is keras.activations.softsign
    assert all(map(np.array_equal, again.get_weights(), model.get_weights()))


ALONE = {
    "everything": lambda: LSTM(4, outputs=STATE_NAMES, initial_state="learned", **EVERYTHING),
    "gates, turned": lambda: LSTM(
        4, outputs=STATE_NAMES, layer_norm=("gates", "cell"), coupled=True, go_backwards=True
    ),
    "gates that the cell state takes part in": lambda: LSTM(4, outputs=STATE_NAMES, **OF_A_NODE),
    "an activation that the operator lacks": lambda: LSTM(
        4, activation="mish", use_bias=False, return_sequences=True, zero_output_for_mask=True
    ),
    "coupled, of other gates": lambda: LSTM(3, coupled=True, recurrent_activation="softsign"),
}
TOGETHER = {
    "two directions": lambda: layers.Bidirectional(
        LSTM(3, projection=2, return_sequences=True, return_state=True, layer_norm="joint")
    ),
    "directions of two kinds": lambda: layers.Bidirectional(
        LSTM(3, clip=0.5), backward_layer=LSTM(3, peephole=True, go_backwards=True)
    ),
    "a stack": lambda: LSTM(
        3, num_layers=2, bidirectional=True, projection=2, zoneout=0.3, return_state=True
    ),
    "a stack of cells": lambda: layers.RNN(
        [LSTMCell(4, projection=2), LSTMCell(3, cell_clip=0.3, peephole=True)], return_state=True
    ),
}


@pytest.mark.parametrize(
    ("kinds", "masked"),
    [(ALONE, True), (ALONE, False), (TOGETHER, True)],
    ids=["alone", "without a mask", "together"],
)
def test_the_numbers_of_the_layer(kinds, masked, tmp_path):
    x = keras.Input((None, F))
    read = layers.Masking()(x) if masked else x
    made = keras.tree.flatten([make()(read) for make in kinds.values()])
    model = randomized(keras.Model(x, made))
    check(model, session(model, tmp_path, opset=14 if masked else 18))


def test_in_chunks(tmp_path):
    x = keras.Input((None, F))
    y = LSTM(4, return_sequences=True, initial_state="learned", name="a", **EVERYTHING)(x)
    model = randomized(keras.Model(x, LSTM(3, return_sequences=True, peephole=True, name="b")(y)))
    known = session(model, tmp_path, states=True)
    assert operators(tmp_path) == ["Scan", "LSTM"]
    given = {i.name: i.shape for i in known.get_inputs()[1:]}
    assert given["a.hidden_state"] == ["batch", 2]
    assert given["a.cell_state"] == ["batch", 4]
