"""LSTMs as nodes of the operator LSTM, one for each layer, two directions in one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from ..convert._gates import ONNX_ORDER, to_order
from ..layers import LSTM
from ..layers._keras_loop import cells_of, why_not
from ._activations import OnnxActivation
from ._builder import Builder, Tensor

Refuse = Any  # a function that makes the error


@dataclass(frozen=True)
class States:
    """What an LSTM computes, in the order in which it reads, (B, T, U) and (B, U)."""

    hidden_states: str
    hidden_state: str
    cell_state: str


def emit_recurrent(
    build: Builder, layer: Any, x: Tensor, initial: list[str], path: str, refuse: Refuse
) -> list[Tensor]:
    """The outputs of an LSTM, of a stack of cells, or of a Bidirectional of LSTMs."""
    if isinstance(layer, keras.layers.Bidirectional):
        return _bidirectional(build, layer, x, initial, path, refuse)
    reason = why_not(layer)
    if reason is not None:
        raise refuse(path, layer, f"with {reason}")
    cells = cells_of(layer)
    backwards = bool(layer.go_backwards)
    before = _begin(build, layer, initial)
    value, states = x, None
    for n, cell in enumerate(cells):
        where = path if len(cells) == 1 else f"{path}/{n}"
        states = _one(build, cell, value, before[2 * n : 2 * n + 2], backwards, where, refuse)
        value = value.named(states.hidden_states, (*x.shape[:2], int(cell.units)))
        if backwards and value.mask is not None:
            turned, first = _turned(build, value.mask), not value.padding_first
            value = replace(value, mask=turned, padding_first=first)
        backwards = False
    assert states is not None
    ours = isinstance(layer, LSTM) and not layer.keras_masks
    handed_on = value if ours else replace(value, mask=x.mask, padding_first=x.padding_first)
    return _returned(build, layer, value, states, handed_on, path, refuse)


_FIRST = -(2**63) + 1  # before the first, in a slice that goes back


def _turned(build: Builder, value: str) -> str:
    """The last time step first."""
    return build.at_end(value, 1, -1, _FIRST, -1)


def _begin(build: Builder, layer: Any, initial: list[str]) -> list[str]:
    """The names of the states before the first step, hidden and cell of each; "" for zeros."""
    if initial:
        return list(initial)
    if getattr(layer, "initial_state", None) is None:
        return [""] * 2 * len(cells_of(layer))
    weights = (layer.initial_hidden_state, layer.initial_cell_state)
    return [build.constant(_numpy(w)[None], "initial_state") for w in weights]  # (1, U)


def _numpy(array: Any) -> Any:
    return keras.ops.convert_to_numpy(array)


def _one(
    build: Builder,
    cell: Any,
    x: Tensor,
    before: list[str],
    backwards: bool,
    path: str,
    refuse: Refuse,
) -> States:
    mask = x.mask
    if mask is not None and x.padding_first:
        # The operator knows padding behind the steps only: turned round, and read the other way.
        mask, backwards = _turned(build, mask), not backwards
        x = x.named(_turned(build, x.name))
    y, h, c = _node(
        build, [cell], x, mask, before, "reverse" if backwards else "forward", path, refuse
    )
    hidden_states = build("Transpose", build("Squeeze", y, build.integers(1)), perm=[1, 0, 2])
    hidden_state, cell_state = (build("Squeeze", s, build.integers(0)) for s in (h, c))
    if mask is None:
        if backwards:
            hidden_states = _turned(build, hidden_states)
        return States(hidden_states, hidden_state, cell_state)
    start_h, start_c = (s or build.number(0.0) for s in before)
    hidden_state, cell_state = _where_any(build, mask, hidden_state, cell_state, start_h, start_c)
    # Behind its length a sequence repeats its state; read backwards, padding comes first.
    fill = start_h if backwards else hidden_state
    hidden_states = _where_counted(build, mask, hidden_states, fill)
    if backwards:
        hidden_states = _turned(build, hidden_states)
    return States(hidden_states, hidden_state, cell_state)


def _where_any(
    build: Builder, mask: str, h: str, c: str, start_h: str, start_c: str
) -> tuple[str, str]:
    """The states, or those before the first step where no step counts."""
    some = build("Greater", _lengths(build, mask), build.constant(np.int32(0)))
    some = build("Unsqueeze", some, build.integers(1))
    return build("Where", some, h, start_h), build("Where", some, c, start_c)


def _where_counted(build: Builder, mask: str, values: str, fill: str) -> str:
    """(B, T, U), and at the steps that do not count a state, (B, U) or a number."""
    if fill != build.number(0.0):
        fill = build("Unsqueeze", fill, build.integers(1))
    return build("Where", build("Unsqueeze", mask, build.integers(2)), values, fill)


def _lengths(build: Builder, mask: str) -> str:
    ones = build("Cast", mask, to=6)
    return build("ReduceSum", ones, build.integers(1), keepdims=0, hint="lengths")


def _halves(build: Builder, value: str, axis: int, hint: str) -> list[str]:
    """Forward and backward of (.., 2, ..), without that axis."""
    parts = build.many("Split", [value, build.integers(1, 1)], 2, hint, axis=axis)
    return [build("Squeeze", part, build.integers(axis)) for part in parts]


def _node(
    build: Builder,
    cells: list[Any],
    x: Tensor,
    mask: str | None,
    before: list[str],
    direction: str,
    path: str,
    refuse: Refuse,
) -> list[str]:
    """Y (T, D, B, U), Y_h and Y_c (D, B, U) of one node."""
    kernels = [(_numpy(cell.kernel), _numpy(cell.recurrent_kernel)) for cell in cells]
    if any(kernel.dtype != np.float32 for pair in kernels for kernel in pair):
        raise refuse(path, cells[0], "whose weights are not float32")
    units = int(cells[0].units)
    w, r = (
        build.constant(np.stack([to_order(pair[n].T, ONNX_ORDER, 0) for pair in kernels]), name)
        for n, name in enumerate((f"{path}/W", f"{path}/R"))
    )
    b = ""
    if cells[0].bias is not None:
        one = [to_order(_numpy(cell.bias), ONNX_ORDER) for cell in cells]
        both = [np.concatenate([bias, np.zeros_like(bias)]) for bias in one]
        b = build.constant(np.stack(both), f"{path}/B")
    # A length of 0 is not allowed; what comes of it is put right afterwards.
    lengths = ""
    if mask is not None:
        lengths = build("Max", _lengths(build, mask), build.constant(np.int32(1)))
    states = [_stacked(build, before[place::2], x) for place in (0, 1)]
    steps = build("Transpose", x.name, perm=[1, 0, 2])
    attributes: dict[str, Any] = {"hidden_size": units, "direction": direction}
    attributes |= _activations(cells, path, refuse)
    return build.many("LSTM", [steps, w, r, b, lengths, *states], 3, path, **attributes)


def _stacked(build: Builder, states: list[str], x: Tensor) -> str:
    """(B, U) each to (D, B, U)."""
    if not any(states):
        return ""
    # A learned one is (1, U): one row for all.
    batch = build("Slice", build("Shape", x.name), *(build.integers(n) for n in (0, 1, 0)))
    rows = build("Concat", batch, build.integers(1), axis=0)
    full = [build("Unsqueeze", build("Expand", s, rows), build.integers(0)) for s in states]
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


def _returned(
    build: Builder,
    layer: Any,
    value: Tensor,
    states: States,
    handed_on: Tensor,
    path: str,
    refuse: Refuse,
) -> list[Tensor]:
    """What the layer returns; time axes in the order in which it reads."""
    names = getattr(layer, "outputs", None)
    if names is None:
        names = ("hidden_states" if layer.return_sequences else "hidden_state",)
        if layer.return_state:
            if len(cells_of(layer)) > 1:
                raise refuse(path, layer, "a stack of cells that returns its states")
            names = (*names, "hidden_state", "cell_state")
    named = {"hidden_states": states.hidden_states, "hidden_state": states.hidden_state}
    named["cell_state"] = states.cell_state
    missing = [name for name in names if name not in named]
    if missing:
        raise refuse(path, layer, f"which returns {missing[0]}: the operator LSTM has states alone")
    if layer.zero_output_for_mask and value.mask is not None:
        if names[0] == "hidden_state":
            raise refuse(path, layer, "zero_output_for_mask=True without return_sequences=True")
        zero = build.number(0.0)
        named["hidden_states"] = _where_counted(build, value.mask, named["hidden_states"], zero)
    batch, _, units = value.shape
    return [
        handed_on.named(named[name])
        if name == "hidden_states"
        else Tensor(named[name], (batch, units))
        for name in names
    ]


def _bidirectional(
    build: Builder, layer: Any, x: Tensor, initial: list[str], path: str, refuse: Refuse
) -> list[Tensor]:
    sides = (layer.forward_layer, layer.backward_layer)
    for side in sides:
        reason = why_not(side)
        plain = getattr(side, "outputs", None) is None
        if reason is not None or len(cells_of(side)) > 1 or not plain:
            raise refuse(path, layer, f"with {reason or 'outputs= or a stack of cells inside'}")
    if x.mask is not None and x.padding_first:
        raise refuse(path, layer, "above a layer that has turned the padding round")
    before = list(initial) or [s for side in sides for s in _begin(build, side, [])]
    cells = [side.cell for side in sides]
    mask, units = x.mask, int(cells[0].units)
    if len({int(cell.units) for cell in cells}) > 1:
        raise refuse(path, layer, "whose directions have different numbers of units")
    y, h, c = _node(build, cells, x, mask, before, "bidirectional", path, refuse)
    every = [
        build("Transpose", part, perm=[1, 0, 2])
        for part in _halves(build, y, 1, f"{path}/directions")
    ]
    last = [_halves(build, state, 0, f"{path}/last") for state in (h, c)]
    if mask is not None:
        for d, side in enumerate(sides):
            start = [s or build.number(0.0) for s in before[2 * d : 2 * d + 2]]
            last[0][d], last[1][d] = _where_any(build, mask, last[0][d], last[1][d], *start)
            # Keras asks for zeros there itself, where the layer returns sequences.
            repeated = start[0] if d else last[0][0]
            fill = build.number(0.0) if side.zero_output_for_mask else repeated
            every[d] = _where_counted(build, mask, every[d], fill)
    sequences = layer.return_sequences
    merged = _merged(build, layer.merge_mode, every if sequences else last[0])
    width = 2 * units if layer.merge_mode == "concat" else units
    shape = (*x.shape[:2], width) if sequences else (x.shape[0], width)
    outputs = [Tensor(value, shape, mask if sequences else None) for value in merged]
    if layer.return_state:
        states = (last[0][0], last[1][0], last[0][1], last[1][1])
        outputs += [Tensor(state, (x.shape[0], units)) for state in states]
    return outputs


_MERGES = {"sum": "Add", "mul": "Mul", "ave": "Mean"}


def _merged(build: Builder, mode: str | None, values: list[str]) -> list[str]:
    if mode is None:
        return values
    if mode == "concat":
        return [build("Concat", *values, axis=-1)]
    return [build(_MERGES[mode], *values)]
