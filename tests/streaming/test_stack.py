"""A stream of a layer of several LSTMs."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from conveyor import LSTM, ConveyorError, Stream
from frameworks import to_numpy

T, F = 9, 3
X = np.random.default_rng(0).normal(size=(2, T, F)).astype("float32")
X[0, 6:] = X[1, 2:4] = 0.0


@pytest.mark.parametrize(
    "arguments",
    [
        {"return_sequences": True, "inter_layer_dropout": 0.3},
        {"return_sequences": True, "initial_state": "learned"},
        {"outputs": ("cell_states", "hidden_state")},
    ],
    ids=str,
)
def test_step_by_step(arguments) -> None:
    x = keras.Input((None, F))
    y = LSTM(4, num_layers=3, **arguments)(layers.Masking()(x))
    model = keras.Model(x, y)
    rng = np.random.default_rng(1)
    model.set_weights([rng.normal(size=w.shape) * 0.5 for w in model.get_weights()])
    stream = Stream(model)
    every = [keras.tree.flatten(stream.step(X[:, t], session=["one", "other"])) for t in range(T)]
    for n, expected in enumerate(map(to_numpy, keras.tree.flatten(model(X)))):
        found = [y[n] for y in every]
        found = np.stack(found, axis=1) if expected.ndim == 3 else found[-1]
        np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"bidirectional": True}, "reads the last time step first"),
        ({"num_layers": 2, "go_backwards": True}, "reads the last time step first"),
        ({"num_layers": 2, "return_state": True}, "returns its states"),
        ({"num_layers": 2, "outputs": "forget_gates"}, "forget_gates"),
    ],
    ids=str,
)
def test_what_no_stream_can_do(arguments, words) -> None:
    layer = LSTM(4, **arguments)
    layer.build((None, None, F))
    with pytest.raises(ConveyorError, match=words):
        Stream(layer)
