"""record_states(): the states of a run, by the path of the layer."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from conveyor import LSTM, ConveyorError
from conveyor._vocabulary import STATE_NAMES, has_time_axis
from conveyor.inspection import describe, record_states


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(size=(2, 6, 5)).astype("float32")


def test_eight_states_that_fit_the_output(x):
    layer = LSTM(4, return_sequences=True, return_state=True, name="lstm")
    hidden_states, hidden_state, cell_state = layer(x)
    states = record_states(layer, x)["lstm"]
    assert set(states) == set(STATE_NAMES)
    for name, array in states.items():
        assert isinstance(array, np.ndarray)
        assert array.shape == ((2, 6, 4) if has_time_axis(name) else (2, 4))
    to_numpy = keras.ops.convert_to_numpy
    np.testing.assert_allclose(
        states["hidden_states"], to_numpy(hidden_states), rtol=1e-6, atol=1e-6
    )
    np.testing.assert_allclose(states["hidden_state"], to_numpy(hidden_state), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(states["cell_state"], to_numpy(cell_state), rtol=1e-6, atol=1e-6)
    c, f, i, g = (states[n] for n in ("cell_states", "forget_gates", "input_gates", "candidates"))
    np.testing.assert_allclose(c[:, 1:], f[:, 1:] * c[:, :-1] + (i * g)[:, 1:], atol=1e-5)


def test_the_keys_are_the_names_that_describe_gives(x):
    both = keras.layers.Bidirectional(LSTM(4, return_sequences=True, name="lstm"), name="both")
    model = keras.Sequential([keras.Input((None, 5)), both, LSTM(3, name="last")])
    assert list(record_states(model, x)) == [flow.name for flow in describe(model)]


def test_a_layer_that_runs_twice_is_kept_twice(x):
    layer = LSTM(5, return_sequences=True, name="lstm")
    inputs = keras.Input((None, 5))
    recorded = record_states(keras.Model(inputs, layer(layer(inputs))), x)
    assert list(recorded) == ["lstm", "lstm (call 2)"]
    first, second = (states["hidden_states"] for states in recorded.values())
    assert not np.allclose(first, second)


def test_a_model_of_keras_alone_is_told_what_to_write(x):
    with pytest.raises(ConveyorError, match="from conveyor import LSTM"):
        record_states(keras.layers.LSTM(4), x)
