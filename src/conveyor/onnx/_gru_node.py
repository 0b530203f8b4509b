"""One node of the operator GRU: weights, activations, lengths, initial states.

Its gates are those of Keras, in Keras's order: update (keeping where it is 1), reset, candidate.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ._activations import attributes_of, spelled
from ._builder import Builder
from ._lstm_node import (
    NodeWeights,
    Refuse,
    _stacked,
    check_float32,
    to_numpy,
    unknown_activation,
)


def gru_weights(build: Builder, cells: list[Any], path: str, refuse: Refuse) -> NodeWeights:
    """W (D, 3U, F), R (D, 3U, U) and B (D, 6U) of one cell, or of two directions."""
    for cell in cells:
        check_float32(cell, path, refuse)
    kernels = [(to_numpy(cell.kernel), to_numpy(cell.recurrent_kernel)) for cell in cells]
    w, r = (
        build.constant(np.stack([pair[n].T for pair in kernels]), name)
        for n, name in enumerate((f"{path}/W", f"{path}/R"))
    )
    b = ""
    if cells[0].bias is not None:
        b = build.constant(np.stack([_two_biases(cell) for cell in cells]), f"{path}/B")
    return NodeWeights(w, r, b, "")


def _two_biases(cell: Any) -> np.ndarray:
    """(6U,): of the input, and of the hidden state."""
    bias = to_numpy(cell.bias)
    return bias.reshape(-1) if cell.reset_after else np.concatenate([bias, np.zeros_like(bias)])


def gru_node(
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
    """Y (T, D, B, U) and Y_h (D, B, U) of x (B, T, F)."""
    attributes: dict[str, Any] = {
        "hidden_size": int(cells[0].units),
        "direction": direction,
        "linear_before_reset": int(cells[0].reset_after),
    }
    attributes |= _activations(cells, path, refuse)
    steps = build("Transpose", x, perm=[1, 0, 2])
    inputs = [steps, weights.w, weights.r, weights.b, lengths, _stacked(build, before, x)]
    return build.many("GRU", inputs, 2, path, **attributes)


def _activations(cells: list[Any], path: str, refuse: Refuse) -> dict[str, Any]:
    named = []
    for cell in cells:
        for function in (cell.recurrent_activation, cell.activation):
            known = spelled(function)
            if known is None:
                raise unknown_activation(cell, function, path, refuse)
            named.append(known)
    usual = [("Sigmoid", None, None), ("Tanh", None, None)] * len(cells)
    return {} if named == usual else attributes_of(named)
