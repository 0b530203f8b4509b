"""LSTMs as nodes of the operator LSTM, one for each layer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from .._vocabulary import has_time_axis
from ..layers import LSTM
from ..layers._known_cells import cells_of, why_unknown
from ..layers._variant import variant_of
from ._builder import Builder, Tensor
from ._emit_gates import INNER, emit_inner
from ._emit_scan import emit_scan
from ._lstm_node import Refuse, fits, lstm_node, node_weights, rows_of, to_numpy
from ._masked_steps import Steps

# By the names of the vocabulary; with a time axis (B, T, U), in the order in which the layer reads.
States = dict[str, str]


def emit_recurrent(
    build: Builder, layer: Any, x: Tensor, initial: list[str], path: str, refuse: Refuse
) -> list[Tensor]:
    """The outputs of an LSTM, or of a stack of cells."""
    reason = why_unknown(layer)
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
        value = value.named(states["hidden_states"], (*x.shape[:2], int(cell.state_size[0])))
        if backwards and value.mask is not None:
            value = replace(value, mask=build.turned(value.mask))
        backwards = False
    ours = isinstance(layer, LSTM) and not layer.keras_masks
    handed_on = value if ours else replace(value, mask=x.mask)
    sizes = [int(size) for size in cells[-1].state_size]
    returned = _returned(build, layer, names, value, every[-1], handed_on, sizes)
    if len(cells) > 1 and layer.return_state and getattr(layer, "outputs", None) is None:
        for cell, states in zip(cells, every, strict=True):
            for name, size in zip(("hidden_state", "cell_state"), cell.state_size, strict=True):
                returned.append(Tensor(states[name], (x.shape[0], int(size))))
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
    cells = cells_of(layer)
    weights = [w for cell in cells for w in (cell.initial_hidden_state, cell.initial_cell_state)]
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
    sizes, mask = [int(size) for size in cell.state_size], x.mask
    if build.states:
        path, *before = build.add_states(path, sizes, before)
    if needs_scan(cell, names):
        # In the order in which the layer reads.
        read = build.turned(x.name) if backwards else x.name
        mask = build.turned(mask) if backwards and mask is not None else mask
        states = emit_scan(build, cell, read, mask, before, names, path, refuse)
        if build.states:
            build.add_next_states(path, states, sizes)
        return states
    units = int(cell.units)
    weights = node_weights(build, [cell], path, refuse)
    if mask is None:
        direction = "reverse" if backwards else "forward"
        y, h, c = lstm_node(build, [cell], weights, x.name, "", before, direction, path, refuse)
        hidden_states = _batch_first(build, y)
        hidden_states = build.turned(hidden_states) if backwards else hidden_states
        hidden_state, cell_state = (build("Squeeze", s, build.integers(0)) for s in (h, c))
        inner = set(names) & set(INNER)
        read = build.turned(x.name) if backwards and inner else x.name
    else:
        # In the order in which the layer reads.
        read, mask = (build.turned(v) if backwards else v for v in (x.name, mask))
        steps, start = Steps(build, mask), [rows_of(build, s, read, units) for s in before]
        y, h, c = lstm_node(
            build,
            [cell],
            weights,
            steps.first(read),
            steps.lengths,
            before,
            "forward",
            path,
            refuse,
        )
        hidden_states = steps.back(_batch_first(build, y), start[0])
        hidden_state, cell_state = (
            steps.any(build("Squeeze", s, build.integers(0)), first)
            for s, first in zip((h, c), start, strict=True)
        )
    last = {"hidden_state": hidden_state, "cell_state": cell_state}
    if build.states:
        build.add_next_states(path, last, sizes)
    wanted = [name for name in INNER if name in names]
    return {
        "hidden_states": hidden_states,
        **last,
        **emit_inner(build, cell, weights, read, mask, hidden_states, before, wanted),
    }


def needs_scan(cell: Any, names: tuple[str, ...] | None) -> bool:
    """Whether a cell is more than a node of the operator LSTM and products beside it."""
    v = variant_of(cell)
    inner = set(names or ()) & set(INNER)
    return not fits(cell) or bool(inner and (v.peephole or v.coupled or v.clip))


def _batch_first(build: Builder, y: str) -> str:
    """(T, 1, B, U) as (B, T, U)."""
    return build("Transpose", build("Squeeze", y, build.integers(1)), perm=[1, 0, 2])


def zero_where_masked(build: Builder, mask: str, values: str) -> str:
    """(B, T, U), zeros at the steps that do not count."""
    counts = build("Unsqueeze", mask, build.integers(2))
    return build("Where", counts, values, build.number(0.0))


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
    sizes: list[int],
) -> list[Tensor]:
    """What the layer returns; time axes in the order in which it reads.

    `sizes` are those of the hidden state, and of all else behind it.
    """
    zeros = layer.zero_output_for_mask and value.mask is not None
    tensors = []
    for n, name in enumerate(names):
        found = states[name]
        if zeros and value.mask is not None:
            if has_time_axis(name):
                found = zero_where_masked(build, value.mask, found)
            elif n == 0 and getattr(layer, "outputs", None) is None:
                # To Keras this is the last of the zeroed outputs, not the state.
                last = build.at_end(value.mask, 1, -1, 2**62)
                found = build("Where", last, found, build.number(0.0))
        size = sizes[0 if name.startswith("hidden") else -1]
        batch, time_steps, _ = value.shape
        with_time = handed_on.named(found, (batch, time_steps, size))
        tensors.append(with_time if has_time_axis(name) else Tensor(found, (batch, size)))
    return tensors
