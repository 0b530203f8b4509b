"""LSTMs as nodes of the operator LSTM, one for each layer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from .._vocabulary import has_time_axis
from ..layers import LSTM
from ..layers._keras_loop import cells_of, why_not
from ._builder import Builder, Tensor
from ._emit_gates import INNER, emit_inner
from ._lstm_node import Refuse, lengths_of, lstm_node, node_weights, to_numpy

# By the names of the vocabulary; with a time axis (B, T, U), in the order in which the layer reads.
States = dict[str, str]


def emit_recurrent(
    build: Builder, layer: Any, x: Tensor, initial: list[str], path: str, refuse: Refuse
) -> list[Tensor]:
    """The outputs of an LSTM, or of a stack of cells."""
    reason = why_not(layer)
    if reason is not None:
        raise refuse(path, layer, f"with {reason}")
    _check(build, layer, x, initial, path, refuse)
    cells = cells_of(layer)
    names = _names(layer)
    backwards = bool(layer.go_backwards)
    before = begin(build, layer, initial)
    value, every = x, []
    for n, cell in enumerate(cells):
        where = path if len(cells) == 1 else f"{path}/{n}"
        states = emit_cell(
            build, cell, value, before[2 * n : 2 * n + 2], backwards, where, refuse, names
        )
        every.append(states)
        value = value.named(states["hidden_states"], (*x.shape[:2], int(cell.units)))
        if backwards and value.mask is not None:
            turned, first = build.turned(value.mask), not value.padding_first
            value = replace(value, mask=turned, padding_first=first)
        backwards = False
    ours = isinstance(layer, LSTM) and not layer.keras_masks
    handed_on = value if ours else replace(value, mask=x.mask, padding_first=x.padding_first)
    returned = _returned(build, layer, names, value, every[-1], handed_on)
    if len(cells) > 1 and layer.return_state:
        for cell, states in zip(cells, every, strict=True):
            shape = (x.shape[0], int(cell.units))
            returned += [Tensor(states[name], shape) for name in ("hidden_state", "cell_state")]
    return returned


def _check(
    build: Builder, layer: Any, x: Tensor, initial: list[str], path: str, refuse: Refuse
) -> None:
    if layer.stateful:
        why = "stateful=True, which a file is not: build it without and write export(states=True)"
        raise refuse(path, layer, why)
    if not build.states:
        return
    reasons = {
        "go_backwards=True: the last step first, which no stream has": layer.go_backwards,
        "whose initial state another layer gives, and not the last chunk": initial,
        f"whose time steps are {x.shape[1]}: write Input((None, features))": x.shape[1],
    }
    for why, is_so in reasons.items():
        if is_so:
            raise refuse(path, layer, why)


def begin(build: Builder, layer: Any, initial: list[str]) -> list[str]:
    """The names of the states before the first step, hidden and cell of each; "" for zeros."""
    if initial:
        return list(initial)
    if getattr(layer, "initial_state", None) is None:
        return [""] * 2 * len(cells_of(layer))
    weights = (layer.initial_hidden_state, layer.initial_cell_state)
    return [build.constant(to_numpy(w)[None], "initial_state") for w in weights]  # (1, U)


def emit_cell(
    build: Builder,
    cell: Any,
    x: Tensor,
    before: list[str],
    backwards: bool,
    path: str,
    refuse: Refuse,
    names: tuple[str, ...] = (),
) -> States:
    """All steps of one cell; of gates and cell states those in `names`."""
    if build.states:
        path, *before = build.add_states(path, int(cell.units), before)
    read, mask_read = x.name, x.mask  # in the order in which the layer reads
    if backwards:
        read = build.turned(read) if set(names) & set(INNER) else read
        mask_read = build.turned(x.mask) if x.mask is not None else None
    mask = x.mask
    if mask is not None and x.padding_first:
        # The operator knows padding behind the steps only: turned round, and read the other way.
        mask, backwards = build.turned(mask), not backwards
        x = x.named(build.turned(x.name))
    weights = node_weights(build, [cell], path, refuse)
    direction = "reverse" if backwards else "forward"
    y, h, c = lstm_node(build, [cell], weights, x, mask, before, direction, path, refuse)
    hidden_states = build("Transpose", build("Squeeze", y, build.integers(1)), perm=[1, 0, 2])
    hidden_state, cell_state = (build("Squeeze", s, build.integers(0)) for s in (h, c))
    if mask is not None:
        start_h, start_c = (s or build.number(0.0) for s in before)
        hidden_state, cell_state = where_any(
            build, mask, hidden_state, cell_state, start_h, start_c
        )
        # Behind its length a sequence repeats its state; read backwards, padding comes first.
        fill = start_h if backwards else hidden_state
        hidden_states = where_counted(build, mask, hidden_states, fill)
    if backwards:
        hidden_states = build.turned(hidden_states)
    last = {"hidden_state": hidden_state, "cell_state": cell_state}
    if build.states:
        build.add_next_states(path, last, int(cell.units))
    wanted = [name for name in INNER if name in names]
    return {
        "hidden_states": hidden_states,
        **last,
        **emit_inner(build, cell, weights, read, mask_read, hidden_states, before, wanted),
    }


def where_any(
    build: Builder, mask: str, h: str, c: str, start_h: str, start_c: str
) -> tuple[str, str]:
    """The states, or those before the first step where no step counts."""
    some = build("Greater", lengths_of(build, mask), build.constant(np.int32(0)))
    some = build("Unsqueeze", some, build.integers(1))
    return build("Where", some, h, start_h), build("Where", some, c, start_c)


def where_counted(build: Builder, mask: str, values: str, fill: str) -> str:
    """(B, T, U), and at the steps that do not count a state, (B, U) or a number."""
    if fill != build.number(0.0):
        fill = build("Unsqueeze", fill, build.integers(1))
    return build("Where", build("Unsqueeze", mask, build.integers(2)), values, fill)


def _names(layer: Any) -> tuple[str, ...]:
    """Of what the layer returns; a stack's states come behind."""
    names: tuple[str, ...] | None = getattr(layer, "outputs", None)
    if names is not None:
        return names
    first = "hidden_states" if layer.return_sequences else "hidden_state"
    if layer.return_state and len(cells_of(layer)) == 1:
        return (first, "hidden_state", "cell_state")
    return (first,)


def _returned(
    build: Builder,
    layer: Any,
    names: tuple[str, ...],
    value: Tensor,
    states: States,
    handed_on: Tensor,
) -> list[Tensor]:
    """What the layer returns; time axes in the order in which it reads."""
    batch, _, units = value.shape
    zeros = layer.zero_output_for_mask and value.mask is not None
    tensors = []
    for n, name in enumerate(names):
        found = states[name]
        if zeros and value.mask is not None:
            if has_time_axis(name):
                found = where_counted(build, value.mask, found, build.number(0.0))
            elif n == 0 and getattr(layer, "outputs", None) is None:
                # To Keras this is the last of the zeroed outputs, not the state.
                last = build.at_end(value.mask, 1, -1, 2**62)
                found = build("Where", last, found, build.number(0.0))
        with_time = has_time_axis(name)
        tensors.append(handed_on.named(found) if with_time else Tensor(found, (batch, units)))
    return tensors
