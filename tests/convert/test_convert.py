"""Weights there and back, and what each side computes with them."""

from __future__ import annotations

import re

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import layers

from conveyor import LSTM, ConveyorError, convert
from conveyor.convert import BlockLSTM, CellWeights, LSTMWeights
from conveyor.convert._layouts import LAYOUTS, pack, unpack
from conveyor.convert._reference import hidden_states
from frameworks import to_numpy

from .examples import MANY, ONE, X, assert_equal, weights

NORMS = ("gate_scale", "cell_scale")
# As tests/convert/examples.py calls what a layout may have a place for.
OPTIONS = {
    "projection": {"projection": 2},
    "peepholes": {"peepholes": True},
    "output_kernel": {"output": True},
    "gate_scale": {"gate_scale": "joint"},
    "cell_scale": {"cell_scale": True},
    "coupled": {"coupled": True},
    "clip": {"clip": 0.7},
    "cell_clip": {"cell_clip": 0.4},
    "zoneout": {"zoneout": (0.3, 0.0)},
}


@given(
    layout=st.sampled_from(sorted(LAYOUTS)),
    count=st.integers(1, 3),
    directions=st.integers(1, 2),
    units=st.integers(1, 5),
    bias=st.booleans(),
    dtype=st.sampled_from(["float32", "float64"]),
    data=st.data(),
)
def test_every_layout_there_and_back(layout, count, directions, units, bias, dtype, data):
    parts = data.draw(st.sets(st.sampled_from(LAYOUTS[layout].parts or ("",))), "parts")
    parts = parts | set(NORMS) if layout == "haste" and parts & set(NORMS) else parts
    more = {name: value for part in parts for name, value in OPTIONS.get(part, {}).items()}
    given = weights(count, directions, units, bias=bias, dtype=dtype, **more)
    assert {part for part in LAYOUTS["keras"].parts if given.has(part)} == parts - {""}
    again = unpack(pack(given, layout), layout, given.settings())
    assert_equal(again, given)
    assert len(again.layers) == count


# What PyTorch says of itself.
@pytest.mark.filterwarnings("ignore:LSTM with projections")
def test_torch():
    torch = pytest.importorskip("torch")
    for mine in (
        ONE,
        MANY,
        weights(3, 1, bias=False),
        weights(2, 2, projection=2),
        weights(2, 1, dtype="float64"),
    ):
        module = convert.to_torch(mine, verbose=False)
        x = torch.from_numpy(X.astype(mine.dtype))
        expected = hidden_states(mine, X)
        np.testing.assert_allclose(module(x)[0].detach(), expected, atol=2e-6)
        assert_equal(convert.weights_of(module), mine)
        assert_equal(convert.weights_of(module.state_dict()), mine)
    both = torch.nn.LSTM(3, 4, num_layers=2, bidirectional=True)
    found = convert.weights_of(both)
    np.testing.assert_allclose(
        hidden_states(found, X),
        both(torch.from_numpy(X).transpose(0, 1))[0].transpose(0, 1).detach(),
        atol=2e-6,
    )
    single = torch.nn.LSTMCell(3, 4)
    h = single(torch.from_numpy(X[:, 0]))[0].detach()
    found = convert.weights_of(single)
    np.testing.assert_allclose(hidden_states(found, X[:, :1])[:, 0], h, atol=2e-6)


def test_one_bias_of_torch():
    torch = pytest.importorskip("torch")
    state = torch.nn.LSTM(3, 4).state_dict()
    bias = state.pop("bias_hh_l0")
    found = convert.weights_of(state).layers[0][0]
    np.testing.assert_array_equal(found.bias, state["bias_ih_l0"].numpy())
    state = {"encoder.rnn." + key: value.bfloat16() for key, value in state.items()} | {
        "decoder.bias_hh_l0": bias,
        "decoder.weight_ih_l0": torch.zeros(16, 2),
        "decoder.weight_hh_l0": torch.zeros(16, 4),
    }
    assert convert.weights_of(state, "encoder.rnn").features == 3
    with pytest.raises(ConveyorError, match=r"of 'encoder.rnn', 'decoder'"):
        convert.weights_of(state)


def keras_layers():
    return {
        "one": layers.LSTM(4),
        "no bias": layers.LSTM(4, use_bias=False, return_state=True, stateful=False),
        "ours": LSTM(4, outputs=("cell_states", "hidden_state")),
        "both": layers.Bidirectional(layers.LSTM(4, return_sequences=True)),
        "cell": layers.RNN(layers.LSTMCell(4)),
        "cells": layers.RNN([layers.LSTMCell(4), layers.LSTMCell(2)]),
    }


@pytest.mark.parametrize("name", keras_layers())
def test_keras(name, capsys):
    layer = keras_layers()[name]
    layer.build((None, None, 3))
    model = convert.to_keras(layer)
    shown = re.search(r"Keras (\S+), conveyor.LSTM (\S+)\n", capsys.readouterr().out)
    assert all(0 < float(difference) < 1e-6 for difference in shown.groups())
    np.testing.assert_allclose(
        to_numpy(model(X)), hidden_states(convert.weights_of(layer), X), atol=2e-6
    )
    theirs, ours = layer.get_weights(), model.get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(theirs, ours, strict=True))


def test_a_model_and_its_layers():
    model = keras.Sequential(
        [
            keras.Input((None,)),
            layers.Embedding(9, 3),
            layers.Bidirectional(layers.LSTM(4, return_sequences=True), name="below"),
            layers.Dropout(0.5),
            LSTM(2, name="above"),
            layers.Dense(1),
        ]
    )
    assert str(convert.weights_of(model)) == (
        "3 features to 4 units in two directions, 8 features to 2 units"
    )
    assert convert.weights_of(model, "above").features == 8
    with pytest.raises(ConveyorError, match="one of its LSTMs: below, above"):
        convert.weights_of(model, "middle")


def test_onnx():
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    beyond = {"peepholes": True, "coupled": True, "clip": 0.5}
    more = (weights(1, 2, peepholes=True), weights(2, 2, **beyond))
    for mine in (ONE, MANY, weights(1, 1, bias=False), *more):
        model = convert.to_onnx(mine, verbose=False)
        assert [n.op_type for n in model.graph.node].count("LSTM") == len(mine.layers)
        session = runtime.InferenceSession(model.SerializeToString())
        (y,) = session.run(None, {"x": X})
        np.testing.assert_allclose(y, hidden_states(mine, X), atol=2e-6)
        assert_equal(convert.weights_of(model), mine)


def test_flax():
    linen = pytest.importorskip("flax.linen", reason="compares with flax")
    params = convert.to_flax(ONE, verbose=False)
    rnn = linen.RNN(linen.OptimizedLSTMCell(4))
    y = rnn.apply({"params": {"cell": params}}, X)
    np.testing.assert_allclose(y, hidden_states(ONE, X), atol=2e-6)
    assert_equal(convert.weights_of({"params": {"cell": params}}), ONE)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("peepholes", [False, True])
def test_block_lstm(version, peepholes):
    bound = 0.25 if peepholes else None
    given = weights(1, 1, peepholes=peepholes, cell_clip=bound)
    block = convert.to_block_lstm(given, version=version, forget_bias=0.5, verbose=False)
    again = convert.weights_of(block).layers[0][0]
    assert again.cell_clip == bound
    for name, array in given.layers[0][0].arrays().items():
        np.testing.assert_allclose(again.arrays()[name], array, atol=1e-6)
    tf = pytest.importorskip("tensorflow")
    zeros = np.zeros((2, 4), "float32")
    none = np.zeros(4, "float32")
    name = "BlockLSTM" if version == 1 else "BlockLSTMV2"
    more = {"forget_bias": 0.5} if version == 1 else {}
    out = getattr(tf.raw_ops, name)(
        seq_len_max=6, x=X.transpose(1, 0, 2), cs_prev=zeros, h_prev=zeros, w=block.w, b=block.b,
        wci=block.wci if peepholes else none, wcf=block.wcf if peepholes else none,
        wco=block.wco if peepholes else none, use_peephole=peepholes,
        cell_clip=bound or (-1.0 if version == 1 else 0.0), **more,
    )  # fmt: skip
    expected = hidden_states(given, X)
    np.testing.assert_allclose(out.h.numpy().transpose(1, 0, 2), expected, atol=2e-6)


def test_a_proof_fails_where_sides_differ(monkeypatch):
    from conveyor.convert import _convert

    monkeypatch.setattr(_convert._keras, "runner", lambda model: lambda x: np.zeros((3, 7, 4)))
    with pytest.raises(ConveyorError, match="do not agree"):
        convert.to_keras(ONE)


UNFIT = {
    "gates": lambda: CellWeights(np.zeros((3, 12)), np.zeros((4, 16))),
    "int64": lambda: CellWeights(np.zeros((3, 4), int), np.zeros((1, 4))),
    "layers": lambda: LSTMWeights((ONE.layers[0], ONE.layers[0])),
    "activation=relu": lambda: convert.weights_of(built(layers.LSTM(4, activation="relu"))),
    "go_backwards": lambda: convert.weights_of(built(layers.LSTM(4, go_backwards=True))),
    "not built": lambda: convert.weights_of(layers.LSTM(4)),
    "SimpleRNN": lambda: convert.weights_of(built(layers.SimpleRNN(4))),
    "merge_mode='sum'": lambda: convert.weights_of(
        built(layers.Bidirectional(layers.LSTM(4), merge_mode="sum"))
    ),
    "str, with 'a'|dict, with a": lambda: convert.weights_of({"a": 1}),
    "two directions": lambda: convert.to_flax(MANY),
    "version=2": lambda: convert.weights_of(BlockLSTM(np.zeros((5, 8)), np.zeros(8), version=3)),
    "no file": lambda: convert.weights_of("missing.safetensors"),
    ".safetensors, .pt": lambda: convert.save(ONE, "weights.h5"),
    "layout='numpy'": lambda: convert.save(ONE, "weights.safetensors", layout="numpy"),
}


def built(layer):
    layer.build((None, None, 3))
    return layer


@pytest.mark.parametrize("message", UNFIT)
def test_what_cannot_be_converted(message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((ConveyorError, FileNotFoundError), match=message):
        UNFIT[message]()
    assert not list(tmp_path.iterdir())
