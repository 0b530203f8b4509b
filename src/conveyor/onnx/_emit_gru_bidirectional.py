"""Two directions of GRUs: one node where both are of a kind, else a node each."""

from __future__ import annotations

from typing import Any

from ..layers._known_cells import cells_of
from ._builder import Builder, Tensor
from ._emit_bidirectional import _halves, in_two, joined
from ._emit_gru import begin_gru, check_is_gru, emit_gru
from ._emit_lstm import zero_where_masked
from ._gru_node import gru_node, gru_weights
from ._lstm_node import Refuse, rows_of
from ._masked_steps import Steps

_OF_A_NODE = (None, ("hidden_states",), ("hidden_states", "hidden_state"))


def emit_gru_bidirectional(
    build: Builder, layer: Any, x: Tensor, initial: list[str], path: str, refuse: Refuse
) -> list[Tensor]:
    """The outputs of a Bidirectional of GRUs."""
    if build.states:
        raise refuse(path, layer, "whose backward GRU reads the last step first: no stream has it")
    sides = (layer.forward_layer, layer.backward_layer)
    for side in sides:
        check_is_gru(side, layer, path, refuse)
    cells = [cell for side in sides for cell in cells_of(side)]
    forms = {(cell.units, cell.reset_after, cell.bias is None) for cell in cells}
    plain = all(getattr(side, "outputs", None) in _OF_A_NODE for side in sides)
    if not layer.return_sequences and x.mask is not None:
        plain = plain and not any(side.zero_output_for_mask for side in sides)
    forward = not layer.forward_layer.go_backwards
    if len(cells) == 2 and len(forms) == 1 and plain and forward:
        return _in_one_node(build, layer, x, initial, path, refuse)
    return in_two(build, layer, x, initial, path, refuse, emit_gru)


def _in_one_node(
    build: Builder, layer: Any, x: Tensor, initial: list[str], path: str, refuse: Refuse
) -> list[Tensor]:
    sides = (layer.forward_layer, layer.backward_layer)
    before = list(initial) or [state for side in sides for state in begin_gru(build, side, [])]
    cells = [side.cell for side in sides]
    mask, units = x.mask, int(cells[0].units)
    weights = gru_weights(build, cells, path, refuse)
    steps = None if mask is None else Steps(build, mask)
    read, lengths = (x.name, "") if steps is None else (steps.first(x.name), steps.lengths)
    y, h = gru_node(build, cells, weights, read, lengths, before, "bidirectional", path, refuse)
    every = [
        build("Transpose", part, perm=[1, 0, 2])
        for part in _halves(build, y, 1, f"{path}/directions")
    ]
    last = _halves(build, h, 0, f"{path}/last")
    if steps is not None and mask is not None:
        for d, side in enumerate(sides):
            start = rows_of(build, before[d], read, units)
            last[d] = steps.any(last[d], start)
            every[d] = (steps.back_turned if d else steps.back)(every[d], start)
            if side.zero_output_for_mask:  # Keras asks for it where the layer returns sequences
                every[d] = zero_where_masked(build, mask, every[d])
    sequences = layer.return_sequences
    merged = joined(build, layer.merge_mode, every if sequences else last)
    width = 2 * units if layer.merge_mode == "concat" else units
    shape = (*x.shape[:2], width) if sequences else (x.shape[0], width)
    outputs = [Tensor(value, shape, mask if sequences else None) for value in merged]
    if layer.return_state:
        outputs += [Tensor(state, (x.shape[0], units)) for state in last]
    return outputs
