"""One node of the operator LSTM: weights, activations, lengths, initial states."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from ..convert._gates import ONNX_ORDER, to_order
from ..layers._variant import variant_of
from ._activations import OnnxActivation
from ._builder import Builder

Refuse = Any  # a function that makes the error


@dataclass(frozen=True)
class NodeWeights:
    """Names of initializers: W (D, 4U, F), R (D, 4U, U), B (D, 8U) or ""."""

    w: str
    r: str
    b: str


def node_weights(build: Builder, cells: list[Any], path: str, refuse: Refuse) -> NodeWeights:
    """The weights of one cell, or of two directions, as initializers."""
    for cell in cells:
        beyond = [
            argument
            for argument in variant_of(cell).beyond_plain()
            if not argument.startswith("recurrent_weight_dropout")  # of training alone
        ]
        if beyond:
            raise refuse(
                path, cell, f"with {' and '.join(beyond)}: the plain LSTM alone is written"
            )
    kernels = [(to_numpy(cell.kernel), to_numpy(cell.recurrent_kernel)) for cell in cells]
    if any(kernel.dtype != np.float32 for pair in kernels for kernel in pair):
        raise refuse(path, cells[0], "whose weights are not float32")
    w, r = (
        build.constant(np.stack([to_order(pair[n].T, ONNX_ORDER, 0) for pair in kernels]), name)
        for n, name in enumerate((f"{path}/W", f"{path}/R"))
    )
    b = ""
    if cells[0].bias is not None:
        one = [to_order(to_numpy(cell.bias), ONNX_ORDER) for cell in cells]
        both = [np.concatenate([bias, np.zeros_like(bias)]) for bias in one]
        b = build.constant(np.stack(both), f"{path}/B")
    return NodeWeights(w, r, b)


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
    attributes |= _activations(cells, path, refuse)
    inputs = [steps, weights.w, weights.r, weights.b, lengths, *states]
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


_NAMES: dict[Any, tuple[str, float | None, float | None]] = {
    keras.activations.sigmoid: ("Sigmoid", None, None),
    keras.activations.tanh: ("Tanh", None, None),
    keras.activations.relu: ("Relu", None, None),
    keras.activations.softsign: ("Softsign", None, None),
    keras.activations.softplus: ("Softplus", None, None),
    keras.activations.linear: ("Affine", 1.0, 0.0),
    keras.activations.hard_sigmoid: ("HardSigmoid", 1 / 6, 0.5),
    keras.activations.elu: ("Elu", 1.0, None),
}
_ONNX_NAMES = {
    name.lower(): name
    for name in ("Affine", "LeakyRelu", "ThresholdedRelu", "ScaledTanh", "HardSigmoid", "Elu")
}


def _activations(cells: list[Any], path: str, refuse: Refuse) -> dict[str, Any]:
    named = []
    for cell in cells:
        for function in (cell.recurrent_activation, cell.activation, cell.activation):
            if isinstance(function, OnnxActivation):
                named.append((_ONNX_NAMES[function.name], function.alpha, function.beta))
            elif function in _NAMES:
                named.append(_NAMES[function])
            else:
                given = getattr(function, "__name__", function)
                raise refuse(path, cell, f"with the activation {given}, which ONNX does not have")
    if all(entry == usual for entry, usual in zip(named, _USUAL * len(cells), strict=True)):
        return {}
    attributes: dict[str, Any] = {"activations": [name for name, _, _ in named]}
    for key, place in (("activation_alpha", 1), ("activation_beta", 2)):
        numbers = [entry[place] for entry in named if entry[place] is not None]
        if numbers:
            attributes[key] = numbers
    return attributes


_USUAL = [("Sigmoid", None, None), ("Tanh", None, None), ("Tanh", None, None)]
