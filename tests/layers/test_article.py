"""The uses of LSTM in "Everything you need to know about LSTMs in Keras", as they run here."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from conveyor import LSTM, Input

TIME_STEPS, FEATURES = 6, 2


@pytest.mark.parametrize(
    ("arguments", "shapes"),
    [
        ({}, [(None, 10)]),
        ({"return_sequences": True}, [(None, 6, 10)]),
        ({"return_state": True}, [(None, 10)] * 3),
        ({"return_sequences": True, "return_state": True}, [(None, 6, 10), (None, 10), (None, 10)]),
        ({"outputs": ("hidden_state", "cell_state")}, [(None, 10)] * 2),
        ({"outputs": ("hidden_states", "cell_states")}, [(None, 6, 10)] * 2),
    ],
    ids=str,
)
def test_shapes(arguments, shapes) -> None:
    x = Input(shape=(TIME_STEPS, FEATURES))
    layer = LSTM(units=10, **arguments)
    symbolic = layer(x)
    flat = list(symbolic) if isinstance(symbolic, tuple) else [symbolic]
    assert [tuple(t.shape) for t in flat] == shapes

    values = keras.Model(x, symbolic)(np.ones((3, TIME_STEPS, FEATURES), "float32"))
    flat = list(values) if isinstance(values, (tuple, list)) else [values]
    assert [tuple(t.shape) for t in flat] == [(3, *s[1:]) for s in shapes]
    assert layer.count_params() == 4 * (10 * (10 + FEATURES) + 10)


def test_cell_states_train_and_survive_a_file(tmp_path) -> None:
    x = Input(shape=(TIME_STEPS, FEATURES))
    hs, cs = LSTM(10, outputs=("hidden_states", "cell_states"))(x)
    model = keras.Model(x, [cs, hs])
    model.compile("adam", loss=["mse", None])  # learns through the cell states alone
    data = np.random.default_rng(0).normal(size=(8, TIME_STEPS, FEATURES)).astype("float32")
    target = np.ones((8, TIME_STEPS, 10), "float32")
    before, after = model.fit(data, [target, target], epochs=2, verbose=0).history["loss"]
    assert after < before

    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    for a, b in zip(model.predict(data, verbose=0), again.predict(data, verbose=0), strict=True):
        np.testing.assert_array_equal(a, b)
