"""Random inputs of a model, to try it on."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np


def random_inputs(model: Any, batch: int, steps: int) -> list[np.ndarray]:
    """An array for each input: token ids that every Embedding knows, else normal numbers.

    Args:
        model: whose inputs are known.
        batch, steps: the sizes of axes that are free, the first and the others.
    """
    rng = np.random.default_rng(0)
    tables = [
        layer.input_dim
        for layer in model._flatten_layers(include_self=False, recursive=True)
        if isinstance(layer, keras.layers.Embedding)
    ]
    arrays = []
    for tensor in model.inputs:
        dtype = str(tensor.dtype)
        free = [batch, *[steps] * len(tensor.shape)]
        shape = [free[n] if size is None else size for n, size in enumerate(tensor.shape)]
        if dtype == "bool":
            arrays.append(np.ones(shape, bool))
        elif "int" in dtype or (tables and len(shape) == 2):
            below = max(2, min(tables, default=2))
            arrays.append(rng.integers(1, below, shape).astype(dtype))
        else:
            arrays.append(rng.normal(size=shape).astype("float32"))
    return arrays
