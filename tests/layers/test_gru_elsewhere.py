"""`conveyor.GRU` in the tools around the layer."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import conveyor
from conveyor import GRU, Input
from frameworks import assert_close

X = np.random.default_rng(0).normal(size=(2, 12, 3)).astype("float32")


def model_of(gru):
    return keras.Sequential([Input((None, 3)), gru, keras.layers.Dense(1)])


@pytest.mark.parametrize("reset_after", [True, False])
def test_tbptt_hands_its_states_on(reset_after) -> None:
    arguments = {"return_sequences": True, "reset_after": reset_after}
    models = [model_of(layer(4, **arguments)) for layer in (GRU, keras.layers.GRU)]
    models[1].set_weights(models[0].get_weights())
    alone = keras.models.clone_model(models[0])
    alone.set_weights(models[0].get_weights())
    for model in (*models, alone):
        model.compile(keras.optimizers.SGD(0.1), "mse")
    for model in models:
        conveyor.tbptt(model, 4).fit(X, X[..., :1], batch_size=2, verbose=0)
    for mine, theirs in zip(models[0].get_weights(), models[1].get_weights(), strict=True):
        assert_close(mine, theirs)
    for part in np.split(X, 3, axis=1):  # what it would be without states between the windows
        alone.train_on_batch(part, part[..., :1])
    assert abs(models[0].get_weights()[1] - alone.get_weights()[1]).max() > 1e-6


def test_memory_estimate_counts_what_it_keeps() -> None:
    small, large = (
        conveyor.memory_estimate(model_of(GRU(units, return_sequences=True)), 2, 50)
        for units in (16, 64)
    )
    kept = [need.training for need in large.needs if "kept" in need.what]
    if conveyor.engines()[0].missing is None:
        assert kept == [2 * 50 * 4 * 5 * 64]
    assert kept[0] > sum(need.training for need in small.needs if "kept" in need.what)


@pytest.mark.parametrize(
    "options", [{}, {"reset_after": False}, {"stateful": True}, {"go_backwards": True}], ids=str
)
def test_accelerate_puts_it_where_it_is_faster(options) -> None:
    x = Input(batch_shape=(2, 12, 3))
    y = keras.layers.Masking()(x)
    y = keras.layers.GRU(4, return_sequences=True, **options)(y)
    model = keras.Model(x, keras.layers.Bidirectional(keras.layers.GRU(3))(y))
    masked = X * (np.arange(12) % 5 < 3)[:, None].astype("float32")
    model.predict(masked, verbose=0)
    (now,) = {item.now for item in conveyor.acceleration_plan(model)}
    if options.get("stateful"):
        (layer,) = [one for one in model.layers if isinstance(one, keras.layers.GRU)]
        before = np.asarray(keras.ops.convert_to_numpy(layer.states[0])).copy()
    else:
        expected = model.predict(masked, verbose=0)
    conveyor.accelerate(model, verbose=False)
    native = conveyor.engines()[0].missing is None
    assert now == ("conveyor.GRU" if native else None)
    if options.get("stateful"):
        assert_close(layer.states[0], before)
    else:
        assert_close(model.predict(masked, verbose=0), expected)
