"""The weights of the ONNX operator LSTM: W, R, B and P of a node, there and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ._gates import ONNX_ORDER, from_order, to_order
from ._weights import CellWeights, LSTMWeights


def to_onnx(weights: LSTMWeights) -> dict[str, np.ndarray]:
    """`layers.0.W` and the others, of one node a layer."""
    arrays: dict[str, np.ndarray] = {}
    for n, layer in enumerate(weights.layers):
        # With input_forget=1 the operator reads the input gate, and not the forget gate.
        cells, name = [cell.uncoupled() for cell in layer], f"layers.{n}."
        arrays[f"{name}W"] = np.stack([to_order(c.kernel.T, ONNX_ORDER, 0) for c in cells])
        arrays[f"{name}R"] = np.stack(
            [to_order(c.recurrent_kernel.T, ONNX_ORDER, 0) for c in cells]
        )
        if any(cell.bias is not None for cell in cells):
            both = [
                np.zeros(4 * c.units, c.kernel.dtype) if c.bias is None else c.bias for c in cells
            ]
            arrays[f"{name}B"] = np.stack(
                [np.concatenate([to_order(b, ONNX_ORDER), np.zeros_like(b)]) for b in both]
            )
        if cells[0].peepholes is not None:
            # Input, output, forget.
            arrays[f"{name}P"] = np.stack(
                [c.peepholes[[0, 2, 1]].reshape(-1) for c in cells if c.peepholes is not None]
            )
    return arrays


def onnx_layer(
    layer: Mapping[str, np.ndarray], coupled: bool = False, **settings: Any
) -> tuple[CellWeights, ...]:
    """W, R, B and P of one node; the directions are in the order of the node."""
    cells = []
    for d in range(len(layer["W"])):
        w, r = layer["W"][d], layer["R"][d]
        b, p = (layer[name][d] if name in layer else None for name in "BP")
        arrays: list[Any] = [
            from_order(w, ONNX_ORDER, 0).T,
            from_order(r, ONNX_ORDER, 0).T,
            None if b is None else from_order(added_up(np.split(b, 2)), ONNX_ORDER),
            None if p is None else p.reshape(3, -1)[[0, 2, 1]].reshape(-1),
        ]
        if coupled:
            arrays = [None if a is None else _of_forget_gate(a, r.shape[-1]) for a in arrays]
        kernel, recurrent_kernel, bias, p = arrays
        peepholes = None if p is None else p.reshape(-1, r.shape[-1])
        cells.append(
            CellWeights(
                kernel, recurrent_kernel, bias, None, peepholes, coupled=coupled, **settings
            )
        )
    return tuple(cells)


def _of_forget_gate(array: np.ndarray, units: int) -> np.ndarray:
    """(.., G * U) to (.., (G - 1) * U): f = 1 - sigmoid(z_i) is sigmoid(-z_i)."""
    return np.concatenate([-array[..., :units], array[..., 2 * units :]], axis=-1)


def added_up(biases: list[np.ndarray]) -> np.ndarray:
    """Two biases as one."""
    # In float64, so that b_ih + b_hh is rounded once. A damaged file may hold a signalling NaN.
    with np.errstate(invalid="ignore"):
        total = sum(np.asarray(bias, np.float64) for bias in biases)
        return np.asarray(total, np.result_type(*biases))
