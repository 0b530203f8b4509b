"""Adam in one pass, beside Keras's own."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from conveyor import _optimizers

SETTINGS = {
    "plain": {},
    "clipped": {"global_clipnorm": 0.5},
    "accumulated": {"gradient_accumulation_steps": 2, "global_clipnorm": 0.5},
    "averaged": {"use_ema": True, "ema_momentum": 0.9},
    "early epsilon": {"epsilon": 0.1},
    "amsgrad": {"amsgrad": True},
}


def trained(optimizer, start, gradients):
    variables = [keras.Variable(v, name=f"weight_{n}") for n, v in enumerate(start)]
    optimizer.build(variables)
    for step in gradients:
        optimizer.apply([keras.ops.convert_to_tensor(g) for g in step], variables)
    return {v.name: keras.ops.convert_to_numpy(v) for v in (*variables, *optimizer.variables)}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("name", ["Adam", "AdamW"])
def test_has_the_numbers_of_keras(name, settings):
    draw = np.random.default_rng(0)
    shapes = [(5, 3), (3,), (2, 2)]
    start = [draw.normal(size=s).astype("float32") for s in shapes]
    gradients = [[draw.normal(size=s).astype("float32") for s in shapes] for _ in range(4)]
    mine = getattr(_optimizers, name.lower())(name="adam", learning_rate=0.1, **settings)
    keras_own = getattr(keras.optimizers, name)(name="adam", learning_rate=0.1, **settings)
    found = trained(mine, start, gradients)
    expected = trained(keras_own, start, gradients)
    assert list(found) == list(expected)
    for variable, value in expected.items():
        np.testing.assert_allclose(found[variable], value, rtol=2e-5, atol=1e-6)
