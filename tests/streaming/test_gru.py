"""A stream of GRUs, alone and among LSTMs, computes what the model of Keras does."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

import conveyor
from conveyor import GRU, LSTM, ConveyorError, Stream
from frameworks import to_numpy

T, F = 9, 3
RNG = np.random.default_rng(0)
X = RNG.normal(size=(3, T, F)).astype("float32")
X[0, 6:] = X[1, :2] = X[1, 4] = 0.0  # what Masking leaves out


def randomized(model):
    model.set_weights([w + 0.5 * RNG.normal(size=w.shape) for w in model.get_weights()])
    return model


def mixed():
    """Both forms, of Keras and of conveyor, an LSTM between, and a stack of both kinds."""
    x = keras.Input((None, F))
    y = layers.GRU(5, return_sequences=True, reset_after=False, name="below")(layers.Masking()(x))
    y = LSTM(4, return_sequences=True, name="lstm")(y)
    hs, h = GRU(
        3, outputs=("hidden_states", "hidden_state"), activation="relu", initial_state="learned"
    )(y)
    cells = [layers.GRUCell(2, use_bias=False), layers.LSTMCell(3), layers.GRUCell(4)]
    stack = layers.RNN(cells, return_sequences=True, name="stack")(y)
    last = layers.GRU(3, recurrent_activation="softmax", zero_output_for_mask=True)(hs)
    return randomized(keras.Model(x, [hs, h, stack, last]))


@pytest.fixture(scope="module")
def model():
    return mixed()


@pytest.fixture(scope="module")
def whole(model):
    return [to_numpy(y) for y in model(X)]


def assert_close(actual, expected):
    for a, b in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("engine", ["auto", "portable"])
def test_step_by_step(model, whole, engine):
    stream = Stream(model, engine=engine)
    for t in range(T):
        y = stream.step(X[:, t], session=[*"abc"])
        assert_close([y[0], y[2]], [whole[0][:, t], whole[2][:, t]])
    assert_close([y[1], y[3]], [whole[1], whole[3]])


def test_chunks_of_sessions_that_fork_and_come_from_a_file(model, whole, tmp_path):
    stream = Stream(model)
    stream.feed(X[:, :4], session=[*"abc"])
    stream.fork("b", "again")
    stream.step(X[0, 4], session="b")  # another future, which "again" knows nothing of
    other = Stream(model)
    other.load(stream.save(tmp_path / "sessions.npz"))
    y = other.feed(X[[2, 0, 1], 4:], session=["c", "a", "again"])  # rows apart in the tables
    assert_close([y[0], y[2]], [whole[n][[2, 0, 1], 4:] for n in (0, 2)])
    assert_close([y[1], y[3]], [whole[n][[2, 0, 1]] for n in (1, 3)])
    states = other.states("a")
    assert {path: len(each) for path, each in states.items()} == {
        "below": 1,
        "lstm": 2,
        "stack/0": 1,
        "stack/1": 2,
        "stack/2": 1,
    } | {layer.name: 1 for layer in model.layers if "gru" in layer.name}
    with pytest.raises(ConveyorError, match=r"hidden state of below \(5,\), hidden and cell state"):
        other.set_states({**states, "below": states["lstm"]})


@pytest.mark.parametrize("engine", ["auto", "portable"])
@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
@pytest.mark.parametrize("reset_after", [True, False])
def test_a_layer_alone_in_its_dtype(reset_after, dtype, engine):
    if (dtype, keras.backend.backend()) == ("float64", "jax"):
        pytest.skip("JAX has no float64 unless asked")
    layer = GRU(
        5,
        return_sequences=True,
        reset_after=reset_after,
        dtype=dtype,
        recurrent_initializer="glorot_uniform",
    )
    layer.build((None, None, F))
    x = np.asarray(keras.ops.convert_to_numpy(keras.ops.cast(X[2:], dtype)))
    layer.set_weights([0.5 * RNG.normal(size=w.shape) for w in layer.get_weights()])
    stream = Stream(layer, engine=engine)
    if engine == "auto" and conveyor.engines()[0].missing is None:
        assert stream.explain_engine() == "native engine"
    y = np.stack([stream.step(x_t) for x_t in x[0]])
    assert y.dtype == x.dtype
    expected = np.asarray(keras.ops.convert_to_numpy(keras.ops.cast(layer(x)[0], "float32")))
    np.testing.assert_allclose(
        y.astype("float32"), expected, rtol=0, atol=1e-2 if dtype == "bfloat16" else 1e-12
    )


def test_what_is_refused_and_what_runs(model):
    layer = GRU(4, outputs="update_gates")
    layer.build((None, None, F))
    with pytest.raises(ConveyorError, match="update_gates: a stream has states alone"):
        Stream(layer)
    if conveyor.engines()[0].missing is None:
        shown = Stream(model).explain_engine()
        assert shown.startswith("native engine\nportable engine")
        assert "recurrent_activation=softmax" in shown
    with pytest.raises(ConveyorError, match="GRU"):
        Stream(model, engine="native")
    assert Stream(model, engine="portable").explain_engine() == "portable engine"


class OwnLSTMCell(layers.LSTMCell):
    def call(self, inputs, states, training=False):
        h, states = super().call(inputs, states, training=training)
        return 2 * h, states


class OwnGRU(layers.GRU):
    def inner_loop(self, *arguments, **options):
        return super().inner_loop(*arguments, **options)


@pytest.mark.any_backend
def test_what_computes_something_else():
    stack = layers.RNN([layers.GRUCell(2), OwnLSTMCell(2)])
    for layer, why in ((stack, "OwnLSTMCell, which has a step"), (OwnGRU(2), "loop of its own")):
        with pytest.raises(ConveyorError, match=why):
            Stream(keras.Sequential([keras.Input((None, F)), layer]))
