"""A model of Keras's own layers, from a file: the same numbers on every backend that is there."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys

import pytest

from frameworks import BACKEND

LOOK = """
import json, sys
import keras, numpy as np
import conveyor

model = keras.saving.load_model(sys.argv[1])
rng = np.random.default_rng(0)
x = rng.integers(1, 20, size=(5, 8))
x[1, 5:] = x[2, 2:] = 0
y = rng.integers(0, 2, size=(5, 1))
tree = conveyor.trace(model, x, tokens=[[f"t{n}" for n in row if n] for row in x])
split, health = conveyor.memory(tree), conveyor.health(tree)
flow = conveyor.gradient_flow(model, x, y, loss="binary_crossentropy")
conveyor.report(model, x, sys.argv[2], y=y, loss="binary_crossentropy")
seen = {"explain": [str(conveyor.explain(model))], "loss": [flow.loss]}
for path, layer in flow.layers.items():
    held = split[path]["contribution"].fillna(0).values
    left = health.layers[path].left_saturated
    seen[path] = [
        [float(np.nansum(np.abs(a.values))) for a in tree[path].data_vars.values()],
        held.sum(axis=0).ravel().tolist(),
        layer.d_hidden_states.tolist(), layer.d_cell_states.tolist(), layer.d_inputs.tolist(),
        layer.memory_length, layer.verdict[:7],
        health.layers[path].half_life.tolist(), [share.tolist() for share in left.values()],
    ]
print(json.dumps(seen))
"""

MAKE = """
import sys
import keras
from keras import layers

keras.utils.set_random_seed(0)
inputs = keras.Input((None,), dtype="int32")
h = layers.Embedding(20, 6, mask_zero=True)(inputs)
h = layers.Bidirectional(layers.LSTM(4, return_sequences=True, name="a"), name="both")(h)
h = layers.LSTM(5, name="b")(h)
keras.Model(inputs, layers.Dense(1, activation="sigmoid")(h)).save(sys.argv[1])
"""

INSTALLED = [b for b in ("jax", "torch", "tensorflow") if importlib.util.find_spec(b)]
OTHERS = INSTALLED[:-1]


def ask(backend: str, code: str, *arguments) -> str:
    ran = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def flat(value):
    if isinstance(value, list):
        return [number for part in value for number in flat(part)]
    return [value]


@pytest.mark.skipif(not OTHERS, reason="there is one backend here")
@pytest.mark.skipif(INSTALLED[-1:] != [BACKEND], reason="asked once for all, on the last backend")
def test_the_same_numbers_on_every_backend(tmp_path) -> None:
    model = tmp_path / "model.keras"
    ask(BACKEND, MAKE, model)
    here = json.loads(ask(BACKEND, LOOK, model, tmp_path / "here.html"))
    assert (tmp_path / "here.html").stat().st_size > 10_000
    for backend in OTHERS:
        there = json.loads(ask(backend, LOOK, model, tmp_path / f"{backend}.html"))
        assert there.keys() == here.keys()
        for key, values in here.items():
            for actual, expected in zip(flat(there[key]), flat(values), strict=True):
                if isinstance(expected, str):
                    assert actual == expected, (backend, key)
                else:
                    close = pytest.approx(expected, rel=1e-4, abs=1e-6, nan_ok=True)
                    assert actual == close, (backend, key)
