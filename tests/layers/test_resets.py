"""`resets=` at the call: several sequences, one behind the other."""

from __future__ import annotations

from itertools import pairwise

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as arrays

import conveyor
from conveyor import LSTM, ConveyorError, Input
from frameworks import BACKEND, assert_close, to_numpy

B, T, F, U = 2, 7, 3, 4
X = np.random.default_rng(0).normal(size=(B, T, F)).astype("float32")
EVERY = ("hidden_states", "cell_states", "output_gates")


def layer_of(**arguments):
    layer = LSTM(U, seed=1, **arguments)
    layer.build((None, None, F))
    rng = np.random.default_rng(1)
    layer.set_weights([rng.normal(size=w.shape) for w in layer.weights])
    return layer


def by_pieces(layer, resets):
    """Each sequence by itself, put together again, in the order of time."""
    turn = slice(None, None, -1 if layer.go_backwards else 1)
    made = [np.zeros((B, T, U), "float32") for _ in EVERY]
    for b in range(B):
        cuts = sorted({0, *np.flatnonzero(resets[b]), T})
        for begin, end in pairwise(cuts):
            for array, piece in zip(made, layer(X[b : b + 1, begin:end]), strict=True):
                array[b, begin:end] = to_numpy(piece)[0, turn]
    return made


@pytest.mark.parametrize("initial_state", [None, "learned"])
@pytest.mark.parametrize("go_backwards", [False, True])
@settings(max_examples=10)
@given(resets=arrays.arrays(bool, (B, T)))
def test_sequences_behind_each_other_are_as_alone(resets, go_backwards, initial_state):
    layer = layer_of(outputs=EVERY, go_backwards=go_backwards, initial_state=initial_state)
    turn = slice(None, None, -1 if go_backwards else 1)
    for kind in (resets, resets.astype("float32"), resets.astype("int32") * 256):
        for actual, expected in zip(layer(X, resets=kind), by_pieces(layer, resets), strict=True):
            assert_close(to_numpy(actual)[:, turn], expected, "float32")


def test_an_initial_state_is_of_the_first_sequence_alone():
    layer = layer_of(outputs=EVERY)
    state = [np.ones((B, U), "float32")] * 2
    resets = np.zeros((B, T), bool)
    resets[:, 3] = True
    for actual, before, after in zip(
        layer(X, initial_state=state, resets=resets),
        layer(X[:, :3], initial_state=state),
        layer(X[:, 3:]),
        strict=True,
    ):
        expected = np.concatenate([to_numpy(before), to_numpy(after)], axis=1)
        assert_close(actual, expected, "float32")


def test_a_nan_ends_where_its_sequence_ends():
    layer, x, resets = layer_of(return_sequences=True), X.copy(), np.zeros((B, T), bool)
    x[0, 2], resets[:, 4] = np.nan, True
    hidden_states = to_numpy(layer(x, resets=resets))
    assert np.isnan(hidden_states[0, 2:4]).all()
    assert np.isfinite(hidden_states[0, 4:]).all()


@pytest.mark.skipif(BACKEND == "numpy", reason="no training")
def test_a_model_with_resets_as_an_input(tmp_path):
    x, resets = Input((None, F)), Input((None,), dtype="int32")
    y = LSTM(U, return_sequences=True)(x, resets=resets)
    y = LSTM(U, return_sequences=True, initial_state="learned")(y, resets=resets)
    model = keras.Model([x, resets], y)
    cut = np.zeros((B, T), "int32")
    cut[:, 5] = 1
    model.compile("sgd", "mse")
    model.fit([X, cut], np.zeros((B, T, U)), verbose=0)
    whole = model.predict([X, cut], verbose=0)
    alone = model.predict([X[:, 5:], cut[:, :2]], verbose=0)
    assert_close(whole[:, 5:], alone, "float32")
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert_close(loaded.predict([X, cut], verbose=0), whole, "float32")
    with pytest.raises(ConveyorError, match="resets"):
        conveyor.Stream(model)
    with pytest.raises(ConveyorError, match="resets"):
        conveyor.onnx.export(model, tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


def test_mistakes():
    layer, learned = layer_of(name="reader"), layer_of(initial_state="learned")
    with pytest.raises(ConveyorError, match=r"resets of shape .*\(2, 7\)"):
        layer(X, resets=np.zeros((B, T + 1), bool))
    with pytest.raises(ConveyorError, match="got dtype <U2"):
        layer(X, resets=[["no"] * T] * B)
    state = np.zeros((B, U), "float32")
    with pytest.raises(ConveyorError, match="either resets or an initial state"):
        learned(X, resets=np.zeros((B, T), bool), initial_state=[state, state])
