"""The equations of the GRU, step by step, in float64: what a conversion is judged by."""

from __future__ import annotations

import numpy as np

from ._gru_weights import GRUCellWeights, GRUWeights
from ._reference import _sigmoid


def gru_hidden_states(weights: GRUWeights, x: np.ndarray) -> np.ndarray:
    """(B, T, F) to the hidden states of the last layer, (B, T, U); directions side by side."""
    y = np.asarray(x, np.float64)
    for layer in weights.layers:
        parts = [_run(layer[0], y)]
        if len(layer) == 2:
            parts.append(_run(layer[1], y[:, ::-1])[:, ::-1])
        y = np.concatenate(parts, axis=-1)
    return y


def _run(cell: GRUCellWeights, x: np.ndarray) -> np.ndarray:
    w, u, b = (
        a.astype(np.float64) for a in (cell.kernel, cell.recurrent_kernel, cell.two_biases())
    )
    h = np.zeros((len(x), cell.units))
    every = []
    for t in range(x.shape[1]):
        x_z, x_r, x_g = np.split(x[:, t] @ w + b[0], 3, axis=1)
        h_z, h_r, h_g = np.split(h @ u + b[1], 3, axis=1)
        z, r = _sigmoid(x_z + h_z), _sigmoid(x_r + h_r)
        inside = r * h_g if cell.reset_after else (r * h) @ u[:, 2 * cell.units :]
        h = z * h + (1 - z) * np.tanh(x_g + inside)
        every.append(h)
    return np.stack(every, axis=1)
