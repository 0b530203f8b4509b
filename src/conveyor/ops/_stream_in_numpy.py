"""A step of a plain LSTM where there is no native engine: the same numbers from NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from .._engines._activations import text_of


def _sigmoid(z: np.ndarray) -> np.ndarray:
    # 1 / (1 + exp(-z)), which overflows for a large negative z.
    return 0.5 + 0.5 * np.tanh(0.5 * z)


_ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "tanh": np.tanh,
    "sigmoid": _sigmoid,
    "hard_sigmoid": lambda z: np.clip(z + 3, 0, 6) / 6,
    "relu": lambda z: np.maximum(z, 0),
    "linear": lambda z: z,
}


def in_numpy(function: Any) -> Callable[[np.ndarray], np.ndarray]:
    """An activation on NumPy's arrays: by itself where it is a common one, else through Keras."""
    name = text_of(function)
    if name in _ACTIVATIONS:
        return _ACTIVATIONS[name]

    def through_keras(z: np.ndarray) -> np.ndarray:
        made = function(keras.ops.convert_to_tensor(z))
        return np.asarray(keras.ops.convert_to_numpy(made), z.dtype)

    return through_keras


def lstm_step_in_numpy(
    weights: dict[str, np.ndarray], activation: Any, recurrent_activation: Any
) -> Callable[..., int]:
    """A function that reads the input and overwrites both states; 0, as the native one."""
    kernel, recurrent_kernel = weights["kernel"], weights["recurrent_kernel"]
    bias, exact = weights.get("bias"), kernel.dtype
    sigma, phi = in_numpy(recurrent_activation), in_numpy(activation)

    def step(x: np.ndarray, hidden_state: np.ndarray, cell_state: np.ndarray) -> int:
        z = x.astype(exact) @ kernel + hidden_state.astype(exact) @ recurrent_kernel
        if bias is not None:
            z += bias
        i, f, g, o = np.split(z, 4, axis=1)
        c = sigma(f) * cell_state + sigma(i) * phi(g)
        hidden_state[...] = sigma(o) * phi(c)
        cell_state[...] = c
        return 0

    return step
