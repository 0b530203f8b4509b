"""find_nonfinite(): the first NaN or infinity, and where it is."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

import conveyor
from conveyor import ConveyorError
from conveyor.inspection import find_nonfinite
from frameworks import BACKEND, to_numpy

X = np.random.default_rng(0).normal(size=(5, 6, 3)).astype("float32")
Y = np.ones((5, 1), "float32")


def stack(kind=layers.LSTM, **second):
    inputs = keras.Input((6, 3))
    h = kind(4, return_sequences=True, name="a")(inputs)
    return keras.Model(inputs, layers.Dense(1)(kind(5, name="b", **second)(h)), name="stack")


def place(found):
    return found.layer, found.kind, found.name, found.sample, found.step, found.unit


@pytest.mark.parametrize("kind", [conveyor.LSTM, layers.LSTM], ids=["conveyor", "keras"])
def test_all_is_well(kind) -> None:
    assert find_nonfinite(stack(kind), X) is None
    if BACKEND != "numpy":
        assert find_nonfinite(stack(kind), X, Y, loss="mse") is None


def test_a_weight() -> None:
    model = stack()
    kernel, recurrent_kernel, bias = model.get_layer("b").get_weights()
    recurrent_kernel[2, 5 + 3] = np.inf  # the forget gate's, of unit 3
    model.get_layer("b").set_weights([kernel, recurrent_kernel, bias])
    found = find_nonfinite(model, X)
    assert place(found) == ("b", "weight", "recurrent_kernel", None, None, 3)
    assert found.value == np.inf


@pytest.mark.parametrize("batch_size", [2, 32])
def test_an_input(batch_size) -> None:
    x = X.copy()
    x[3, 4, 1] = np.nan
    x[4, 5, 0] = np.inf
    found = find_nonfinite(stack(), x, batch_size=batch_size)
    assert place(found) == ("a", "input", "input", 3, 4, 1)
    assert found.before == pytest.approx({t: x[3, t, 1] for t in (3, 2, 1, 0)})
    assert "a: input is nan at sample 3, step 4, feature 1" in str(found)


def test_a_state_of_a_layer_that_reads_backwards() -> None:
    # Linear, and times 1e15 at each step: infinite at the third one, which is step 3 of 6.
    model = stack(go_backwards=True, activation="linear")
    kernel, recurrent_kernel, bias = model.get_layer("b").get_weights()
    bias[:] = 30
    bias[10:15] = [0, 1, 0, 0, 0]
    recurrent_kernel[:] = 0
    recurrent_kernel[1, 11] = 1e15
    model.get_layer("b").set_weights([kernel * 0, recurrent_kernel, bias])
    states = conveyor.trace(model, X)["b"]["cell_states"].values[0, :, 1]
    expected = max(np.flatnonzero(~np.isfinite(states)))
    found = find_nonfinite(model, X)
    assert (found.layer, found.kind, found.step, found.unit) == ("b", "value", expected, 1)
    assert list(found.before) == list(range(expected + 1, 6))[:4]
    assert all(np.isfinite(value) for value in found.before.values())


def test_the_output_of_the_model() -> None:
    model = stack()
    dense = model.layers[-1]
    dense.set_weights([w * np.nan for w in dense.get_weights()])
    found = find_nonfinite(model, X)
    assert place(found) == ("stack", "output", "the output", 0, None, 0)


@pytest.mark.skipif(BACKEND == "numpy", reason="no gradients")
def test_a_gradient() -> None:
    inputs = keras.Input((6, 3))
    h = layers.LSTM(4, return_sequences=True, name="a")(inputs)

    class Root(layers.Layer):
        def call(self, x):
            return keras.ops.sqrt(x * 0)  # whose slope at 0 is not finite

    last = layers.LSTM(5, name="b")(h)
    model = keras.Model(inputs, Root()(last))
    assert find_nonfinite(model, X) is None
    found = find_nonfinite(model, X, np.ones((5, 5)), loss="mse")
    assert (found.layer, found.kind, found.step) == ("b", "gradient", 5)
    assert "b: the gradient of hidden_states is" in str(found)


def test_what_is_masked_is_not_looked_at() -> None:
    inputs = keras.Input((6, 3))
    h = layers.Masking()(inputs)
    model = keras.Model(inputs, layers.LSTM(4, name="a")(h))
    x = X.copy()
    x[:, 4:] = 0
    assert find_nonfinite(model, x) is None
    assert np.isfinite(to_numpy(model(x))).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": -1}, "batch_size to be a whole number"),
        ({"y": Y[:2], "loss": "mse"}, "y for each of the 5 samples; got 2"),
    ],
)
def test_mistakes_are_not_good_news(options, message) -> None:
    with pytest.raises(ConveyorError, match=message):
        find_nonfinite(stack(), X, **options)
