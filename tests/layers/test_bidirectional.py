"""`conveyor.Bidirectional`: what Keras's wrapper returns, from one call of the native engine."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

import conveyor
from conveyor import GRU, LSTM, Bidirectional
from conveyor._engines import _library
from frameworks import BACKEND, assert_close, to_numpy

B, T, F, U = 3, 5, 4, 6
RNG = np.random.default_rng(0)
X = RNG.normal(size=(B, T, F)).astype("float32")
MASK = RNG.random((B, T)) > 0.3
STATES = [RNG.normal(size=(B, U)).astype("float32") for _ in range(4)]


def pair(lstm, **arguments):
    """Keras's wrapper and ours, of the same weights."""
    theirs, ours = (
        wrapper.from_config(
            {**layers.Bidirectional(lstm, **arguments).get_config(), "name": "both"}
        )
        for wrapper in (layers.Bidirectional, Bidirectional)
    )
    theirs.build((None, None, F))
    ours.build((None, None, F))
    for weight in theirs.trainable_variables:
        weight.assign(RNG.normal(size=weight.shape) * 0.5)
    ours.set_weights(theirs.get_weights())
    return theirs, ours


def flat(values):
    return [values] if hasattr(values, "shape") else [*values]


NATIVE = [2] if _library.missing() is None else []


@pytest.mark.parametrize("merge_mode", ["concat", "sum", "ave", "mul", None])
@pytest.mark.parametrize("sequences", [False, True])
@pytest.mark.parametrize("state", [False, True])
def test_what_comes_back(merge_mode, sequences, state, asked) -> None:
    lstm = LSTM(U, return_sequences=sequences, return_state=state)
    theirs, ours = pair(lstm, merge_mode=merge_mode)
    for call in (
        {},
        {"mask": MASK},
        {"initial_state": STATES},
        {"mask": MASK, "initial_state": STATES},
    ):
        expected = flat(theirs(X, **call))
        asked.clear()
        found = flat(ours(X, **call))
        assert asked == NATIVE
        for a, e in zip(found, expected, strict=True):
            np.testing.assert_array_equal(to_numpy(a), to_numpy(e))
    symbolic = flat(ours(keras.Input((T, F))))
    assert [tuple(s.shape[1:]) for s in symbolic] == [tuple(e.shape[1:]) for e in expected]


@pytest.mark.parametrize(
    "arguments",
    [
        {"outputs": ("cell_states", "hidden_states")},
        {"outputs": "hidden_state", "peephole": True},
        {"dropout": 0.3, "recurrent_dropout": 0.3, "seed": 1, "return_sequences": True},
        {"initial_state": "learned"},
        {"dtype": "mixed_bfloat16"},
        {"engine": "portable"},
        {"remat": 2},
    ],
    ids=",".join,
)
def test_what_an_lstm_can_be_told(arguments) -> None:
    policy = {"dtype": arguments["dtype"]} if "dtype" in arguments else {}
    theirs, ours = pair(LSTM(U, **arguments), **policy)
    values = [flat(wrapper(X, mask=MASK, training=True)) for wrapper in (ours, theirs)]
    for a, e in zip(*values, strict=True):
        assert a.dtype == e.dtype
        np.testing.assert_array_equal(to_numpy(a), to_numpy(e))
    assert ours.forward_layer.explain_engine() == theirs.forward_layer.explain_engine()


def test_states_between_calls(asked) -> None:
    theirs, ours = pair(LSTM(U, stateful=True))
    for _ in range(2):
        np.testing.assert_array_equal(to_numpy(ours(X)), to_numpy(theirs(X)))
    assert asked == NATIVE * 2


OTHERS = {
    "gru": lambda: GRU(U),
    "stack": lambda: LSTM(U, num_layers=2),
    "regularizer": lambda: LSTM(U, activity_regularizer="l2"),
    "dtype": lambda: LSTM(U, dtype="mixed_bfloat16"),
    "keras": lambda: layers.LSTM(U),
}


@pytest.mark.parametrize("other", OTHERS)
def test_others_are_called_one_after_the_other(other, asked) -> None:
    theirs, ours = pair(OTHERS[other]())
    assert_close(ours(X), theirs(X))
    assert len(ours.losses) == len(theirs.losses)
    assert 2 not in asked


def test_a_wrong_initial_state_is_refused_as_by_the_layer() -> None:
    _, ours = pair(LSTM(U))
    with pytest.raises(conveyor.ConveyorError, match="forward_lstm"):
        ours(X, initial_state=[s[:, :2] for s in STATES])


def test_trained_saved_and_loaded(tmp_path, asked) -> None:
    def model(wrapper):
        keras.utils.set_random_seed(1)
        inner = LSTM(U, return_sequences=True, seed=1)
        made = keras.Sequential([keras.Input((T, F)), wrapper(inner), layers.Dense(1)])
        made.compile("sgd", "mse")
        made.fit(X, X[:, :, :1], epochs=2, verbose=0)
        return made

    made = model(Bidirectional)
    assert set(asked) == set(NATIVE)
    expected = made.predict(X, verbose=0)
    assert_close(expected, model(layers.Bidirectional).predict(X, verbose=0))
    made.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded.layers[0]) is Bidirectional
    np.testing.assert_array_equal(loaded.predict(X, verbose=0), expected)


def test_accelerate_makes_it(asked) -> None:
    model = keras.Sequential(
        [
            keras.Input((T, F)),
            layers.Bidirectional(layers.LSTM(U, return_sequences=True)),
            layers.Bidirectional(layers.GRU(U)),
        ]
    )
    expected = model.predict(X, verbose=0)
    conveyor.accelerate(model, verbose=False)
    assert type(model.layers[0]) is Bidirectional
    assert type(model.layers[1]) is layers.Bidirectional
    assert_close(model.predict(X, verbose=0), expected)
    assert set(asked) == set(NATIVE)


@pytest.mark.skipif(BACKEND != "torch", reason="a second look at PyTorch's tape")
def test_gradients_on_torch() -> None:
    slopes = []
    for wrapper in pair(LSTM(U, return_sequences=True)):
        (wrapper(X) ** 2).sum().backward()
        slopes.append([v.value.grad.numpy() for v in wrapper.trainable_variables])
    for a, e in zip(*slopes, strict=True):
        np.testing.assert_array_equal(a, e)
