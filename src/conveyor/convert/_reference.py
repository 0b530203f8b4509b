"""The equations, step by step, in float64: what a conversion is judged by."""

from __future__ import annotations

import numpy as np

from ._weights import CellWeights, LSTMWeights


def hidden_states(weights: LSTMWeights, x: np.ndarray) -> np.ndarray:
    """(B, T, F) to the hidden states of the last layer, (B, T, U); directions side by side.

    Peepholes as in Gers & Schmidhuber 2000, the projection as in Sak et al. 2014 (torch's
    `proj_size`): h = (o * tanh(c)) P.
    """
    y = np.asarray(x, np.float64)
    for layer in weights.layers:
        forward = _run(layer[0], y)
        if len(layer) == 2:
            backward = _run(layer[1], y[:, ::-1])[:, ::-1]
            y = np.concatenate([forward, backward], axis=-1)
        else:
            y = forward
    return y


def _run(cell: CellWeights, x: np.ndarray) -> np.ndarray:
    arrays = {name: array.astype(np.float64) for name, array in cell.arrays().items()}
    batch, time_steps, _ = x.shape
    peepholes = arrays.get("peepholes", np.zeros((3, cell.units)))
    h, c = np.zeros((batch, cell.output_size)), np.zeros((batch, cell.units))
    every = []
    for t in range(time_steps):
        z = x[:, t] @ arrays["kernel"] + h @ arrays["recurrent_kernel"] + arrays.get("bias", 0.0)
        i, f, g, o = np.split(z, 4, axis=1)
        i, f = _sigmoid(i + peepholes[0] * c), _sigmoid(f + peepholes[1] * c)
        c = f * c + i * np.tanh(g)
        h = _sigmoid(o + peepholes[2] * c) * np.tanh(c)
        h = h @ arrays["projection"] if "projection" in arrays else h
        every.append(h)
    return np.stack(every, axis=1)


def _sigmoid(z: np.ndarray) -> np.ndarray:
    return np.asarray(0.5 + 0.5 * np.tanh(0.5 * z))
