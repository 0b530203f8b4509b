"""Writes `saved.tar.xz`, with models as each backend writes them: three runs, of which one is

    KERAS_BACKEND=jax python tests/keras_files/save.py

Keras alone, without conveyor: what it computed lies beside the models.
"""

from __future__ import annotations

import tarfile
import tempfile
from pathlib import Path

import keras
import numpy as np
from keras import layers

SAVED = Path(__file__).with_name("saved.tar.xz")
X = np.random.default_rng(0).normal(size=(3, 6, 2)).astype("float32")
X[1, 4:] = X[2, :2] = 0.0  # what Masking leaves out


def sequential():
    return keras.Sequential([keras.Input((None, 2)), layers.LSTM(3), layers.Dense(1)])


def functional():
    x = keras.Input((6, 2), name="x")
    hs, h, c = layers.LSTM(3, return_sequences=True, return_state=True)(layers.Masking()(x))
    y = layers.LSTM(3, use_bias=False, unit_forget_bias=False, name="second")(
        hs, initial_state=[h, c]
    )
    return keras.Model(x, [y, c])


def two_directions():
    both = layers.Bidirectional(layers.LSTM(2, return_sequences=True), merge_mode="ave")
    return keras.Sequential([keras.Input((6, 2)), both, layers.Bidirectional(layers.LSTM(3))])


def cells():
    stack = layers.RNN([layers.LSTMCell(3), layers.LSTMCell(2)], return_sequences=True)
    return keras.Sequential([keras.Input((None, 2)), stack, layers.RNN(layers.LSTMCell(2))])


MODELS = {make.__name__: make for make in (sequential, functional, two_directions, cells)}


def write(folder: Path) -> None:
    backend = keras.backend.backend()
    outputs = {}
    for name, make in MODELS.items():
        keras.utils.set_random_seed(7)
        model = make()
        rng = np.random.default_rng(1)
        model.set_weights([w + 0.3 * rng.normal(size=w.shape) for w in model.get_weights()])
        model.save(folder / f"{name}-{backend}.keras")
        for n, output in enumerate(keras.tree.flatten(model(X))):
            outputs[f"{name}.{n}"] = keras.ops.convert_to_numpy(output)
    np.savez(folder / f"outputs-{backend}.npz", **outputs)


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        if SAVED.exists():  # what the other backends wrote
            with tarfile.open(SAVED) as archive:
                archive.extractall(place, filter="data")
        write(Path(place))
        with tarfile.open(SAVED, "w:xz") as archive:
            for path in sorted(Path(place).iterdir()):
                archive.add(path, path.name)


if __name__ == "__main__":
    main()
