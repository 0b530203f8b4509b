"""One node of the operator LSTM: weights, activations, lengths, initial states."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from ..convert._gates import ONNX_ORDER, to_order
from ..layers._variant import variant_of
from ._activations import attributes_of, is_odd_about_half, spelled
from ._builder import Builder

Refuse = Any  # a function that makes the error


@dataclass(frozen=True)
class NodeWeights:
    """Names of initializers: W (D, 4U, F), R (D, 4U, U), B (D, 8U) and P (D, 3U), or ""."""

    w: str
    r: str
    b: str
    p: str


def fits(cell: Any) -> bool:
    """Whether the operator has all of what a cell computes at inference."""
    v = variant_of(cell)
    lacks = v.output_transform or v.projection or v.norms or any(v.zoneout) or v.cell_clip
    functions = (cell.recurrent_activation, cell.activation, _on_the_way_out(cell))
    if lacks or any(spelled(function) is None for function in functions):
        return False
    return not v.coupled or is_odd_about_half(cell.recurrent_activation)


def attributes_beyond(cell: Any) -> dict[str, Any]:
    """Of its node, for what is beyond the plain LSTM."""
    v = variant_of(cell)
    bound = {} if v.clip is None else {"clip": v.clip}
    return bound | ({"input_forget": 1} if v.coupled else {})


def _on_the_way_out(cell: Any) -> Any:
    return variant_of(cell).output_activation or cell.activation


def check_float32(cell: Any, path: str, refuse: Refuse) -> None:
    """Refuse weights in another type."""
    if any(str(weight.dtype) != "float32" for weight in cell.weights):
        raise refuse(path, cell, "whose weights are not float32")


def node_weights(build: Builder, cells: list[Any], path: str, refuse: Refuse) -> NodeWeights:
    """The weights of one cell, or of two directions, as initializers."""
    for cell in cells:
        check_float32(cell, path, refuse)

    def constant(weights: list[np.ndarray], name: str) -> str:
        packed = [to_order(weight, ONNX_ORDER, 0) for weight in weights]
        return build.constant(np.stack(packed), f"{path}/{name}")

    w = constant([_four_gates(cell, cell.kernel) for cell in cells], "W")
    r = constant([_four_gates(cell, cell.recurrent_kernel) for cell in cells], "R")
    b = p = ""
    if cells[0].bias is not None:
        one = [to_order(_four_gates(cell, cell.bias), ONNX_ORDER) for cell in cells]
        both = [np.concatenate([bias, np.zeros_like(bias)]) for bias in one]
        b = build.constant(np.stack(both), f"{path}/B")
    if variant_of(cells[0]).peephole:
        # Input, forget, output here; input, output, forget there.
        rows = [_four_gates(cell, cell.peephole_kernel).reshape(3, -1) for cell in cells]
        p = build.constant(np.stack([row[[0, 2, 1]].reshape(-1) for row in rows]), f"{path}/P")
    return NodeWeights(w, r, b, p)


def _four_gates(cell: Any, weight: Any) -> np.ndarray:
    """(F, G * U) to (4U, F), with an input gate where it is one minus the forget gate.

    ONNX makes the forget gate of the input gate: 1 - sigmoid(z) is sigmoid(-z). The weights of
    the forget gate, which it does not read then, say the same.
    """
    array = to_numpy(weight).T
    return np.concatenate([-array[: cell.units], array]) if variant_of(cell).coupled else array


def lstm_node(
    build: Builder,
    cells: list[Any],
    weights: NodeWeights,
    x: str,
    lengths: str,
    before: list[str],
    direction: str,
    path: str,
    refuse: Refuse,
) -> list[str]:
    """Y (T, D, B, U), Y_h and Y_c (D, B, U) of x (B, T, F)."""
    states = [_stacked(build, before[place::2], x) for place in (0, 1)]
    steps = build("Transpose", x, perm=[1, 0, 2])
    attributes: dict[str, Any] = {"hidden_size": int(cells[0].units), "direction": direction}
    attributes |= _activations(cells, path, refuse) | attributes_beyond(cells[0])
    inputs = [steps, weights.w, weights.r, weights.b, lengths, *states, weights.p]
    return build.many("LSTM", inputs, 3, path, **attributes)


def to_numpy(array: Any) -> np.ndarray:
    """A weight."""
    return np.asarray(keras.ops.convert_to_numpy(array))


def rows_of(build: Builder, state: str, x: str, units: int) -> str:
    """A state (1, U) or (B, U), or "" for zeros, as (B, U), B as of x."""
    state = state or build.number(0.0)
    batch = build("Slice", build("Shape", x), *(build.integers(n) for n in (0, 1, 0)))
    return build("Expand", state, build("Concat", batch, build.integers(units), axis=0))


def _stacked(build: Builder, states: list[str], x: str) -> str:
    """(B, U) each to (D, B, U)."""
    if not any(states):
        return ""
    # A learned one is (1, U): one row for all.
    full = [build("Unsqueeze", rows_of(build, s, x, 1), build.integers(0)) for s in states]
    return full[0] if len(full) == 1 else build("Concat", *full, axis=0)


def _activations(cells: list[Any], path: str, refuse: Refuse) -> dict[str, Any]:
    named = []
    for cell in cells:
        for function in (cell.recurrent_activation, cell.activation, _on_the_way_out(cell)):
            known = spelled(function)
            if known is None:
                raise unknown_activation(cell, function, path, refuse)
            named.append(known)
    return {} if named == _USUAL * len(cells) else attributes_of(named)


def unknown_activation(cell: Any, function: Any, path: str, refuse: Refuse) -> Any:
    """The error for a function that there is no node for."""
    given = getattr(function, "__name__", function)
    return refuse(path, cell, f"with the activation {given}, which ONNX does not have")


_USUAL = [("Sigmoid", None, None), ("Tanh", None, None), ("Tanh", None, None)]
