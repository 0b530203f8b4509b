"""Two directions: one node where both are plain, else a node each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..layers._known_cells import cells_of, why_unknown
from ..layers._variant import variant_of
from ._builder import Builder, Tensor
from ._emit_lstm import begin, emit_recurrent, zero_where_masked
from ._lstm_node import Refuse, attributes_beyond, fits, lstm_node, node_weights, rows_of
from ._masked_steps import Steps


def emit_bidirectional(
    build: Builder, layer: Any, x: Tensor, initial: list[str], path: str, refuse: Refuse
) -> list[Tensor]:
    """The outputs of a Bidirectional of LSTMs."""
    if build.states:
        raise refuse(path, layer, "whose backward LSTM reads the last step first: no stream has it")
    sides = (layer.forward_layer, layer.backward_layer)
    for side in sides:
        reason = why_unknown(side)
        if reason is not None:
            raise refuse(path, layer, f"with {reason}")
    cells = [cell for side in sides for cell in cells_of(side)]
    plain = all(getattr(side, "outputs", None) in _OF_A_NODE for side in sides)
    if not layer.return_sequences and x.mask is not None:
        plain = plain and not any(side.zero_output_for_mask for side in sides)
    same = len(cells) == 2 and cells[0].units == cells[1].units
    # What the node has one of for both directions.
    kinds = [(attributes_beyond(cell), variant_of(cell).peephole) for cell in cells]
    same = same and all(map(fits, cells)) and kinds[0] == kinds[1]
    biased = len({cell.bias is None for cell in cells}) == 1
    forward = not layer.forward_layer.go_backwards
    if plain and same and biased and forward:
        return _in_one_node(build, layer, x, initial, path, refuse)
    return in_two(build, layer, x, initial, path, refuse)


_OF_A_NODE = (None, ("hidden_states",), ("hidden_states", "hidden_state", "cell_state"))


def _in_one_node(
    build: Builder, layer: Any, x: Tensor, initial: list[str], path: str, refuse: Refuse
) -> list[Tensor]:
    sides = (layer.forward_layer, layer.backward_layer)
    before = list(initial) or [s for side in sides for s in begin(build, side, [])]
    cells = [side.cell for side in sides]
    mask, units = x.mask, int(cells[0].units)
    weights = node_weights(build, cells, path, refuse)
    steps = None if mask is None else Steps(build, mask)
    read, lengths = (x.name, "") if steps is None else (steps.first(x.name), steps.lengths)
    y, h, c = lstm_node(build, cells, weights, read, lengths, before, "bidirectional", path, refuse)
    every = [
        build("Transpose", part, perm=[1, 0, 2])
        for part in _halves(build, y, 1, f"{path}/directions")
    ]
    last = [_halves(build, state, 0, f"{path}/last") for state in (h, c)]
    if steps is not None and mask is not None:
        for d, side in enumerate(sides):
            start = [rows_of(build, s, read, units) for s in before[2 * d : 2 * d + 2]]
            last[0][d], last[1][d] = (steps.any(last[k][d], start[k]) for k in (0, 1))
            every[d] = (steps.back_turned if d else steps.back)(every[d], start[0])
            if side.zero_output_for_mask:  # Keras asks for it where the layer returns sequences
                every[d] = zero_where_masked(build, mask, every[d])
    sequences = layer.return_sequences
    merged = joined(build, layer.merge_mode, every if sequences else last[0])
    width = 2 * units if layer.merge_mode == "concat" else units
    shape = (*x.shape[:2], width) if sequences else (x.shape[0], width)
    outputs = [Tensor(value, shape, mask if sequences else None) for value in merged]
    if layer.return_state:
        states = (last[0][0], last[1][0], last[0][1], last[1][1])
        outputs += [Tensor(state, (x.shape[0], units)) for state in states]
    return outputs


def _halves(build: Builder, value: str, axis: int, hint: str) -> list[str]:
    """Forward and backward of (.., 2, ..), without that axis."""
    parts = build.many("Split", [value, build.integers(1, 1)], 2, hint, axis=axis)
    return [build("Squeeze", part, build.integers(axis)) for part in parts]


def in_two(
    build: Builder,
    layer: Any,
    x: Tensor,
    initial: list[str],
    path: str,
    refuse: Refuse,
    emit: Callable[..., list[Tensor]] = emit_recurrent,
) -> list[Tensor]:
    """A node for each direction, which `emit` makes."""
    half = len(initial) // 2
    (y, *states), (y_back, *states_back) = (
        emit(build, side, x, given, f"{path}/{side.name}", refuse)
        for side, given in (
            (layer.forward_layer, initial[:half]),
            (layer.backward_layer, initial[half:]),
        )
    )
    if layer.return_sequences:
        y_back = y_back.named(build.turned(y_back.name))
    width = int(y.shape[-1] or 0) + (
        int(y_back.shape[-1] or 0) if layer.merge_mode == "concat" else 0
    )
    shape = (*y.shape[:-1], width)
    mask = x.mask if layer.return_sequences else None
    merged = joined(build, layer.merge_mode, [y.name, y_back.name])
    first = [Tensor(value, shape, mask) for value in merged]
    others = [Tensor(state.name, state.shape) for state in (*states, *states_back)]
    return first + others


_MERGES = {"sum": "Add", "mul": "Mul", "ave": "Mean"}


def joined(build: Builder, mode: str | None, values: list[str]) -> list[str]:
    """Two directions joined, or both."""
    if mode is None:
        return values
    if mode == "concat":
        return [build("Concat", *values, axis=-1)]
    return [build(_MERGES[mode], *values)]
