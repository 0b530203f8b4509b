"""`stateful=True`: what is remembered between calls, for any batch, on every path of Keras."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from conveyor import LSTM, ConveyorError, Input
from frameworks import BACKEND, assert_close, to_numpy

# JAX says that it could not reuse the memory of (0, U) for (B, U): there is none.
pytestmark = pytest.mark.filterwarnings("ignore:Some donated buffers were not usable")

X = np.random.default_rng(0).normal(size=(4, 6, 3)).astype("float32")


def model_and_layer():
    x = Input((None, 3))
    layer = LSTM(5, stateful=True, return_sequences=True)
    return keras.Model(x, layer(x)), layer


def expected(layer, x=X):
    plain = LSTM(5, return_sequences=True)
    plain.build(x.shape)
    plain.set_weights(layer.get_weights())
    return to_numpy(plain(x))


@pytest.mark.parametrize("how", ["call", "predict"])
def test_two_halves_are_the_whole(how) -> None:
    model, layer = model_and_layer()
    run = model if how == "call" else lambda x: model.predict(x, verbose=0, batch_size=8)
    for batch in (4, 2):  # another batch size after a reset
        layer.reset_state()
        halves = [to_numpy(run(X[:batch, :3])), to_numpy(run(X[:batch, 3:]))]
        assert_close(np.concatenate(halves, axis=1), expected(layer, X[:batch]))
        assert [s.shape for s in layer.get_states()] == [(batch, 5)] * 2


def test_fit_carries_the_states() -> None:
    model, layer = model_and_layer()
    model.compile(keras.optimizers.SGD(0.0), "mse")
    model.fit(X[:, :3], np.zeros((4, 3, 5)), batch_size=4, verbose=0, shuffle=False)
    assert_close(to_numpy(model(X[:, 3:])), expected(layer)[:, 3:])


def test_get_and_set() -> None:
    _, layer = model_and_layer()
    assert [s.shape for s in layer.get_states()] == [(0, 5)] * 2
    layer(X[:, :3])
    states = layer.get_states()
    layer(X[:2, 3:], initial_state=[s[:2] for s in states])
    layer.set_states(states)
    assert_close(layer(X[:, 3:]), expected(layer)[:, 3:])
    layer.reset_state(states=states)
    assert_close(layer(X[:, 3:]), expected(layer)[:, 3:])
    layer.reset_states()
    assert_close(layer(X), expected(layer))


def test_the_states_are_the_last_ones_that_counted() -> None:
    _, layer = model_and_layer()
    layer(X, lengths=[3, 0, 6, 1])
    h, c = layer.get_states()
    assert not h[1].any()
    assert not c[1].any()
    assert_close(h[0], expected(layer)[0, 2])


def test_states_are_no_weights_and_not_saved(tmp_path) -> None:
    model, layer = model_and_layer()
    model(X)
    assert len(model.weights) == 3
    model.save_weights(tmp_path / "w.weights.h5")
    theirs = keras.Sequential([Input((None, 3)), layers.LSTM(5, return_sequences=True)])
    theirs.load_weights(tmp_path / "w.weights.h5")
    assert_close(theirs(X), expected(layer))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert_close(again(X), expected(layer))


def test_another_batch_size_is_refused_not_guessed() -> None:
    _, layer = model_and_layer()
    layer(X)
    with pytest.raises(ConveyorError, match=r"batch of 4 .* got a batch of 3(.|\n)*reset_state"):
        layer(X[:3])
    assert_close(layer.get_states()[0], expected(layer)[:, -1])  # nothing is lost


@pytest.mark.skipif(
    BACKEND != "tensorflow", reason="only there is the batch unknown to compiled code"
)
def test_another_batch_size_is_refused_in_a_graph() -> None:
    model, _ = model_and_layer()
    model.predict(X, verbose=0)
    with pytest.raises(Exception, match="reset_state"):
        model.predict(X[:3], verbose=0)


@pytest.mark.parametrize(
    ("act", "says"),
    [
        (lambda layer: layer.set_states([np.zeros((2, 5))]), "1 tensors"),
        (lambda layer: layer.set_states([np.zeros((2, 5)), np.zeros((2, 4))]), r"\(2, 4\)"),
        (lambda layer: layer.set_states([np.zeros((2, 5)), np.zeros((3, 5))]), r"\(3, 5\)"),
        (lambda layer: layer.set_states(3), "two tensors"),
        (lambda layer: LSTM(5).get_states(), "stateful=True"),
        (lambda layer: LSTM(5).reset_state(states=[X, X]), "stateful=True"),
        (lambda layer: LSTM(5, stateful=True).get_states(), "to be built"),
    ],
)
def test_wrong_states_teach(act, says) -> None:
    with pytest.raises(ConveyorError, match=says):
        act(model_and_layer()[1])


def test_reset_of_a_layer_without_states_does_nothing() -> None:
    LSTM(5).reset_state()
