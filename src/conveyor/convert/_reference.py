"""The equations, step by step, in float64: what a conversion is judged by."""

from __future__ import annotations

import numpy as np

from ._weights import CellWeights, LSTMWeights


def hidden_states(weights: LSTMWeights, x: np.ndarray) -> np.ndarray:
    """(B, T, F) to the hidden states of the last layer, (B, T, U); directions side by side.

    What is beyond the plain LSTM is as the table of docs/variants.md has it, zoneout in the mean.
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
    a = {name: array.astype(np.float64) for name, array in cell.arrays().items()}
    batch, time_steps, _ = x.shape
    p_i, p_f, p_o = [0.0] * (4 - cell.gates) + list(a.get("peepholes", [0.0] * (cell.gates - 1)))
    keep_h, keep_c = cell.zoneout
    h, c = np.zeros((batch, cell.output_size)), np.zeros((batch, cell.units))
    every = []
    for t in range(time_steps):
        z = _added_up(x[:, t] @ a["kernel"], h @ a["recurrent_kernel"], a, cell.gates)
        *z_i, z_f, z_g, z_o = np.split(z, cell.gates, axis=1)
        f = _sigmoid(_within(z_f + p_f * c, cell.clip))
        i = _sigmoid(_within(z_i[0] + p_i * c, cell.clip)) if z_i else 1 - f
        new_c = _within(f * c + i * np.tanh(_within(z_g, cell.clip)), cell.cell_clip)
        o = _sigmoid(_within(z_o + p_o * new_c, cell.clip))
        new_h = o * np.tanh(_on_its_way_out(new_c, a))
        new_h = new_h @ a["projection"] if "projection" in a else new_h
        h, c = keep_h * h + (1 - keep_h) * new_h, keep_c * c + (1 - keep_c) * new_c
        every.append(h)
    return np.stack(every, axis=1)


def _added_up(z_x: np.ndarray, z_h: np.ndarray, a: dict[str, np.ndarray], gates: int) -> np.ndarray:
    scale, bias = a.get("gate_scale"), a.get("bias", 0.0)
    if scale is None:
        z = z_x + z_h
    elif scale.ndim == 2:
        z = _normalised(z_x) * scale[0] + _normalised(z_h) * scale[1]
    else:
        by_gate = map(_normalised, np.split(z_x + z_h, gates, axis=-1))
        z = np.concatenate(list(by_gate), axis=-1) * scale
    return np.asarray(z + bias)


def _on_its_way_out(c: np.ndarray, a: dict[str, np.ndarray]) -> np.ndarray:
    if "cell_scale" in a:
        c = _normalised(c) * a["cell_scale"] + a["cell_shift"]
    return c @ a["output_kernel"] + a["output_bias"] if "output_kernel" in a else c


def _normalised(z: np.ndarray) -> np.ndarray:
    centred = z - z.mean(axis=-1, keepdims=True)
    return np.asarray(centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5))


def _within(z: np.ndarray, bound: float | None) -> np.ndarray:
    return z if bound is None else np.clip(z, -bound, bound)


def _sigmoid(z: np.ndarray) -> np.ndarray:
    return np.asarray(0.5 + 0.5 * np.tanh(0.5 * z))
