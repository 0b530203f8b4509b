"""Models with random weights, exported, and what ONNX Runtime makes of them."""

from __future__ import annotations

import keras
import numpy as np
import onnxruntime

from conveyor.onnx import export


def randomized(model, seed=1):
    """The model with weights that are all different."""
    rng = np.random.default_rng(seed)
    model.set_weights([w + 0.2 * rng.normal(size=w.shape) ** 2 for w in model.get_weights()])
    return model


def session(model, folder, **options):
    """The exported model in ONNX Runtime."""
    path = export(model, folder / "model.onnx", verbose=False, **options)
    return onnxruntime.InferenceSession(path)


def padded(lengths, steps, features=3, seed=2):
    """Sequences (B, T, F) of these lengths, zeros behind them."""
    within = np.arange(steps) < np.asarray(lengths)[:, None]
    x = np.random.default_rng(seed).normal(size=(*within.shape, features))
    return (x * within[:, :, None]).astype("float32")


def outputs(model, x):
    """What Keras makes of it, as a flat list."""
    return [np.asarray(keras.ops.convert_to_numpy(y)) for y in keras.tree.flatten(model(x))]


def run(known, x):
    """What ONNX Runtime makes of it."""
    names = [i.name for i in known.get_inputs()]
    arrays = x if isinstance(x, list) else [x]
    return known.run(None, dict(zip(names, arrays, strict=True)))
