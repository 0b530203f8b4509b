"""GRUs as nodes of the operator GRU, one for each layer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from .._vocabulary import GRU_GATE_NAMES
from ..layers import GRU
from ..layers._known_cells import cells_of, is_gru_cell, why_unknown
from ._builder import Builder, Tensor
from ._emit_activations import activate
from ._emit_lstm import States, _batch_first, _check, _returned
from ._gru_node import gru_node, gru_weights
from ._lstm_node import NodeWeights, Refuse, rows_of, to_numpy
from ._masked_steps import Steps


def emit_gru(
    build: Builder, layer: Any, x: Tensor, initial: list[str], path: str, refuse: Refuse
) -> list[Tensor]:
    """The outputs of a GRU, or of a stack of its cells."""
    check_is_gru(layer, layer, path, refuse)
    _check(build, layer, x, initial, path, refuse)
    cells, names = cells_of(layer), _names(layer)
    backwards = bool(layer.go_backwards)
    before = begin_gru(build, layer, initial)
    value, every = x, []
    for n, cell in enumerate(cells):
        where = path if len(cells) == 1 else f"{path}/{n}"
        states = _emit_cell(build, cell, value, before[n], backwards, where, refuse, names)
        every.append(states)
        value = value.named(states["hidden_states"], (*x.shape[:2], int(cell.units)))
        if backwards and value.mask is not None:
            value = replace(value, mask=build.turned(value.mask))
        backwards = False
    ours = isinstance(layer, GRU) and not layer.keras_masks
    handed_on = value if ours else replace(value, mask=x.mask)
    returned = _returned(build, layer, names, value, every[-1], handed_on, [int(cells[-1].units)])
    if len(cells) > 1 and layer.return_state:
        for cell, states in zip(cells, every, strict=True):
            returned.append(Tensor(states["hidden_state"], (x.shape[0], int(cell.units))))
    return returned


def check_is_gru(layer: Any, named: Any, path: str, refuse: Refuse) -> None:
    """Refuse, by the name of `named`, what nodes of GRUs alone do not compute."""
    reason = why_unknown(layer)
    if reason is not None:
        raise refuse(path, named, f"with {reason}")
    if not all(map(is_gru_cell, cells_of(layer))):
        raise refuse(path, named, "with cells of LSTMs among those of GRUs: take a layer for each")


def begin_gru(build: Builder, layer: Any, initial: list[str]) -> list[str]:
    """The names of the states before the first step, one a cell; "" for zeros."""
    cells = cells_of(layer)
    if initial:
        return list(initial)
    if getattr(layer, "initial_state", None) is None:
        return [""] * len(cells)
    learned = (to_numpy(cell.initial_hidden_state)[None] for cell in cells)  # (1, U)
    return [build.constant(state, "initial_state") for state in learned]


def _names(layer: Any) -> tuple[str, ...]:
    """Of what the layer returns; a stack's states come behind."""
    names: tuple[str, ...] | None = getattr(layer, "outputs", None)
    if names is not None:
        return names
    first = "hidden_states" if layer.return_sequences else "hidden_state"
    alone = layer.return_state and len(cells_of(layer)) == 1
    return (first, "hidden_state") if alone else (first,)


def _emit_cell(
    build: Builder,
    cell: Any,
    x: Tensor,
    before: str,
    backwards: bool,
    path: str,
    refuse: Refuse,
    names: tuple[str, ...],
) -> States:
    """All steps of one cell; of the gates those in `names`."""
    if build.states:
        path, before = build.add_states(path, [int(cell.units)], [before])
    units, mask = int(cell.units), x.mask
    weights = gru_weights(build, [cell], path, refuse)
    wanted = [name for name in GRU_GATE_NAMES if name in names]

    def node(read: str, lengths: str, direction: str) -> list[str]:
        start = [before]
        return gru_node(build, [cell], weights, read, lengths, start, direction, path, refuse)

    if mask is None:
        y, h = node(x.name, "", "reverse" if backwards else "forward")
        hidden_states = _batch_first(build, y)
        hidden_states = build.turned(hidden_states) if backwards else hidden_states
        hidden_state = build("Squeeze", h, build.integers(0))
        read = build.turned(x.name) if backwards and wanted else x.name
    else:
        # In the order in which the layer reads.
        read, mask = (build.turned(v) if backwards else v for v in (x.name, mask))
        steps, start = Steps(build, mask), rows_of(build, before, read, units)
        y, h = node(steps.first(read), steps.lengths, "forward")
        hidden_states = steps.back(_batch_first(build, y), start)
        hidden_state = steps.any(build("Squeeze", h, build.integers(0)), start)
    if build.states:
        build.add_next_states(path, {"hidden_state": hidden_state}, [units])
    states = {"hidden_states": hidden_states, "hidden_state": hidden_state}
    if wanted:
        start = rows_of(build, before, read, units)
        gates = _gates(build, cell, weights, read, hidden_states, start)
        if mask is not None:
            counts = build("Unsqueeze", mask, build.integers(2))
            gates = {n: build("Where", counts, a, build.number(0.0)) for n, a in gates.items()}
        states |= {name: gates[name] for name in wanted}
    return states


def _gates(
    build: Builder, cell: Any, weights: NodeWeights, x: str, hidden_states: str, start: str
) -> States:
    """The gates of all steps at once, (B, T, U), as the hidden states before them are known."""
    units = int(cell.units)
    first = build("Unsqueeze", start, build.integers(1))
    earlier = build("Concat", first, build.at_end(hidden_states, 1, 0, -1), axis=1)
    r = build("Transpose", build("Squeeze", weights.r, build.integers(0)), perm=[1, 0])
    w = build("Transpose", build("Squeeze", weights.w, build.integers(0)), perm=[1, 0])

    def thirds(z: str, place: int) -> list[str]:
        if weights.b:
            bias = build("Squeeze", weights.b, build.integers(0))
            z = build("Add", z, build.at_end(bias, 0, 3 * units * place, 3 * units * (place + 1)))
        return build.many("Split", [z, build.integers(*[units] * 3)], 3, "gate", axis=2)

    of_input = thirds(build("MatMul", x, w), 0)
    of_state = thirds(build("MatMul", earlier, r), 1)

    def activated(function: Any, z: str) -> str:
        return activate(build, function, z) or z

    z, reset = (
        activated(cell.recurrent_activation, build("Add", a, b))
        for a, b in zip(of_input[:2], of_state[:2], strict=True)
    )
    if cell.reset_after:
        inside = build("Mul", reset, of_state[2])
    else:
        of_candidate = build.at_end(r, 1, 2 * units, 3 * units)
        inside = build("MatMul", build("Mul", reset, earlier), of_candidate)
    g = activated(cell.activation, build("Add", of_input[2], inside))
    return dict(zip(GRU_GATE_NAMES, (z, reset, g), strict=True))
