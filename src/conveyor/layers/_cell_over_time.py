"""One cell of Keras's or conveyor's over all time steps: what is asked, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from .._engines import Array, Decision
from .._vocabulary import GRU_STATE_NAMES, STATE_NAMES, AnyStateName, StateName
from ..ops._gru import gru_and_decision
from ..ops._lstm import lstm_and_decision
from ._cell import LSTMCell
from ._gru_cell import GRUCell
from ._known_cells import is_gru_cell, is_stack_of_cells
from ._recording import Record, Records, records
from ._variant import variant_of


def run_cell(layer: Any, cell: Any, call: dict[str, Any], engine: str) -> dict[AnyStateName, Array]:
    """The states of one cell of a layer, of what `asked_of_cell` says."""
    run = gru_and_decision if is_gru_cell(cell) else lstm_and_decision
    return states_told(layer, call, *run(**call, engine=engine))


def asked_of_cell(
    layer: Any,
    cell: Any,
    sequences: Array,
    before: Any,
    mask: Array | None,
    training: bool,
    go_backwards: bool,
    every: bool,
) -> dict[str, Any]:
    """What is asked of `ops.lstm` or `ops.gru`: states of every step where `every` says so."""
    gru = is_gru_cell(cell)
    # Those of a stateful layer are its variables, which the call writes to in the end.
    states = [keras.ops.copy(state) for state in keras.tree.flatten(before)]
    last: tuple[StateName, ...] = ("hidden_state",) if gru else ("hidden_state", "cell_state")
    named = dict(zip(last, states, strict=True))
    dropout_mask, recurrent_dropout_mask = LSTMCell.draw_dropout_masks(
        cell, sequences[:, 0, :], named["hidden_state"], bool(training)
    )
    given = (GRUCell if gru else LSTMCell).weights_for_ops(cell)
    if training and variant_of(cell).draws:
        given |= cell.drawn(given, *keras.ops.shape(sequences)[:2])
    outputs: tuple[AnyStateName, ...] = ("hidden_states", *last) if every else last
    if _watching(layer) is not None:
        outputs = GRU_STATE_NAMES if gru else STATE_NAMES
    return {
        "x": keras.ops.cast(sequences, cell.compute_dtype),
        **given,
        **named,
        "mask": mask,
        "dropout_mask": dropout_mask,
        "recurrent_dropout_mask": recurrent_dropout_mask,
        "go_backwards": go_backwards,
        "unroll": layer.unroll,
        "outputs": outputs,
        "where": f'{type(layer).__name__} "{layer.name}"',
    }


def states_told(
    layer: Any, call: dict[str, Any], values: Sequence[Array], decision: Decision
) -> dict[AnyStateName, Array]:
    """The states by their names, told to whoever is watching."""
    states: dict[AnyStateName, Array] = dict(zip(call["outputs"], values, strict=True))
    watching = _watching(layer)
    if watching is None:
        return states
    before = call["hidden_state"], call.get("cell_state")
    return watching.add(Record(layer, call["x"], call["mask"], *before, states, decision))


def _watching(layer: Any) -> Records | None:
    """The cells of a stack have no record of their own."""
    return None if is_stack_of_cells(layer) else records()
