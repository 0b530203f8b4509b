"""Truncated back-propagation through a layer of several LSTMs, and through layers of one."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

import conveyor
from conveyor import LSTM, ConveyorError
from frameworks import assert_close

X = np.random.default_rng(0).normal(size=(5, 11, 3)).astype("float32")
Y = np.random.default_rng(1).normal(size=(5, 11, 2)).astype("float32")


def model_of(*lstms):
    model = keras.Sequential([keras.Input((None, 3)), *lstms, layers.Dense(2)])
    model.compile(keras.optimizers.SGD(0.25), "mse")
    return model


def test_as_layers_one_above_the_other() -> None:
    one = model_of(LSTM(4, num_layers=2, return_sequences=True))
    two = model_of(*(LSTM(4, return_sequences=True) for _ in range(2)))
    two.set_weights(one.get_weights())
    for model in (one, two):
        conveyor.tbptt(model, window=4).fit(X, Y, batch_size=2, epochs=2, shuffle=False, verbose=0)
    for a, b in zip(one.get_weights(), two.get_weights(), strict=True):
        assert_close(a, b)
    whole = model_of(LSTM(4, num_layers=2, return_sequences=True))
    before = whole.get_weights()
    whole.fit(X, Y, verbose=0)
    assert any(np.any(a != b) for a, b in zip(before, whole.get_weights(), strict=True))


@pytest.mark.parametrize("arguments", [{"bidirectional": True}, {"num_layers": 2}], ids=str)
def test_two_directions_and_reading_backward_are_refused(arguments) -> None:
    backward = {} if "bidirectional" in arguments else {"go_backwards": True}
    model = model_of(LSTM(4, return_sequences=True, **arguments, **backward))
    with pytest.raises(ConveyorError, match="reads the last time step first"):
        conveyor.tbptt(model, window=4)
