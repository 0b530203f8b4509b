"""Cell states and gates of exported layers: the layer's own numbers, masked and turned round."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

from conveyor import LSTM
from conveyor._vocabulary import STATE_NAMES
from conveyor.activations import ScaledTanh

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx_nodes.exported import outputs, padded, randomized, run, session  # noqa: E402

F = 3
SHAPES = (((5, 2, 0, 1), 5), ((1,), 1), ((0,), 1), ((3, 7), 7))


def check(model, folder, shapes=SHAPES):
    known = session(model, folder)
    for lengths, steps in shapes:
        x = padded(lengths, steps)
        for actual, expected in zip(run(known, x), outputs(model, x), strict=True):
            assert actual.shape == expected.shape
            np.testing.assert_allclose(actual, expected, atol=2e-5, rtol=1e-4)


@given(
    names=st.lists(st.sampled_from(STATE_NAMES), min_size=1, unique=True).map(tuple),
    masked=st.booleans(),
    go_backwards=st.booleans(),
    zeros=st.booleans(),
    bias=st.booleans(),
    learned=st.booleans(),
    gates=st.sampled_from(["sigmoid", "hard_sigmoid"]),
    candidate=st.sampled_from(["tanh", "softsign", ScaledTanh(0.9, 0.7)]),
)
@settings(max_examples=12)
def test_every_state_of_a_layer(
    names, masked, go_backwards, zeros, bias, learned, gates, candidate, tmp_path_factory
):
    x = keras.Input((None, F))
    layer = LSTM(
        4,
        outputs=names,
        activation=candidate,
        recurrent_activation=gates,
        go_backwards=go_backwards,
        zero_output_for_mask=zeros,
        use_bias=bias,
        initial_state="learned" if learned else None,
    )
    model = keras.Model(x, layer(layers.Masking()(x) if masked else x))
    check(randomized(model), tmp_path_factory.mktemp("model"))


def test_above_turned_padding(tmp_path):
    x = keras.Input((None, F))
    back = LSTM(3, go_backwards=True, return_sequences=True)(layers.Masking()(x))
    model = keras.Model(x, LSTM(4, outputs=STATE_NAMES)(back))
    check(randomized(model), tmp_path)


@pytest.mark.parametrize("merge_mode", ["concat", "ave", None])
def test_two_directions(merge_mode, tmp_path):
    x = keras.Input((None, F))
    inner = LSTM(4, outputs=("hidden_states", "cell_states", "forget_gates", "cell_state"))
    both = layers.Bidirectional(inner, merge_mode=merge_mode, name="both")
    check(randomized(keras.Model(x, both(layers.Masking()(x)))), tmp_path)


def test_a_stack_of_cells_with_its_states(tmp_path):
    x = keras.Input((None, F))
    stack = layers.RNN(
        [layers.LSTMCell(4), layers.LSTMCell(2)], return_state=True, return_sequences=True
    )
    model = randomized(keras.Model(x, stack(layers.Masking()(x))))
    assert len(model.outputs) == 5
    check(model, tmp_path)


def test_one_scan_beside_the_node(tmp_path):
    x = keras.Input((None, F))
    model = keras.Model(x, LSTM(4, outputs=("hidden_states", "cell_states"))(x))
    session(model, tmp_path)
    nodes = onnx.load(tmp_path / "model.onnx").graph.node
    assert [node.op_type for node in nodes if node.op_type in ("LSTM", "Scan")] == ["LSTM", "Scan"]
