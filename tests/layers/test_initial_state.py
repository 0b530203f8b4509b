"""`initial_state="learned"`: the states before the first step are weights."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import conveyor
from conveyor import GRU, LSTM, ConveyorError, Stream
from frameworks import assert_close, to_numpy

X = np.random.default_rng(0).normal(size=(4, 6, 3)).astype("float32")
H, C = (np.random.default_rng(n).normal(size=5).astype("float32") for n in (1, 2))


def learned(**arguments):
    layer = LSTM(5, initial_state="learned", **arguments)
    layer.build((None, None, 3))
    layer.set_weights([*layer.get_weights()[:3], H, C])
    return layer


def given(layer, x=X, **arguments):
    """What a plain layer does with these states."""
    plain = LSTM(5, **arguments)
    plain.build((None, None, 3))
    plain.set_weights(layer.get_weights()[:3])
    return plain(x, initial_state=[np.tile(state, (len(x), 1)) for state in (H, C)])


@pytest.mark.parametrize("arguments", [{}, {"outputs": ("cell_states", "forget_gates")}])
def test_it_begins_with_what_was_learned(arguments):
    layer = learned(**arguments)
    for actual, expected in zip(
        keras.tree.flatten(layer(X)), keras.tree.flatten(given(layer, **arguments)), strict=True
    ):
        assert_close(actual, expected, "float32")
    states = [np.ones((4, 5), "float32")] * 2
    plain = LSTM(5)
    plain.build((None, None, 3))
    plain.set_weights(layer.get_weights()[:3])
    if not arguments:
        assert_close(layer(X, initial_state=states), plain(X, initial_state=states), "float32")


def test_it_begins_as_the_plain_layer_and_learns():
    layer = LSTM(5, initial_state="learned", name="lstm")
    model = keras.Sequential([keras.Input((None, 3)), layer, keras.layers.Dense(1)])
    assert [w.name for w in layer.weights[3:]] == ["initial_hidden_state", "initial_cell_state"]
    assert not any(w.any() for w in layer.get_weights()[3:])
    model.compile("adam", "mse")
    model.fit(X, np.ones((4, 1)), epochs=2, verbose=0)
    assert all(w.all() for w in layer.get_weights()[3:])


def test_saved_and_loaded(tmp_path):
    model = keras.Sequential([keras.Input((None, 3)), learned(return_sequences=True)])
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert_close(loaded(X), to_numpy(model(X)), "float32")


def test_a_session_of_a_stream_begins_with_it():
    layer = learned(return_sequences=True)
    stream, expected = Stream(layer), to_numpy(layer(X))
    for key in ("a", "b"):
        np.testing.assert_allclose(stream.feed(X[0], session=key), expected[0], atol=1e-5)
    stream.reset("a")
    np.testing.assert_allclose(stream.feed(X[1], session="a"), expected[1], atol=1e-5)


def test_it_is_explained():
    layer = learned(return_sequences=True)
    shown = str(conveyor.explain(layer))
    assert "learned" in shown
    assert f"{layer.count_params()}" in shown
    example = conveyor.worked_example(layer, X, step=0)
    np.testing.assert_allclose(example.cell_state_before, C, atol=1e-6)


def test_what_does_not_go_together():
    with pytest.raises(ConveyorError, match="at the call"):
        LSTM(5, initial_state=np.ones(5))
    with pytest.raises(ConveyorError, match="stateful"):
        LSTM(5, initial_state="learned", stateful=True)
    with pytest.raises(ConveyorError, match="learned initial state"):
        conveyor.convert.weights_of(learned())


@pytest.mark.parametrize("kind", [LSTM, GRU])
def test_a_derived_class_may_begin_with_others(kind) -> None:
    class Ones(kind):
        def get_initial_state(self, batch_size):
            return [keras.ops.ones_like(s) for s in super().get_initial_state(batch_size)]

    layer = Ones(4)
    ones = [np.ones((len(X), 4), "float32")] * len(layer.state_names)
    assert_close(layer(X), layer(X, initial_state=ones))
    zeros = [0 * state for state in ones]
    assert not np.allclose(to_numpy(layer(X)), to_numpy(layer(X, initial_state=zeros)))
