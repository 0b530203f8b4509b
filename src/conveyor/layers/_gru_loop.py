"""The loop over time of Keras's own GRU layers, computed by `ops.gru`."""

from __future__ import annotations

from typing import Any

import keras

from .._engines import Array
from .._vocabulary import GRU_STATE_NAMES, AnyStateName, GRUStateName
from ..ops._gru import gru_and_decision
from ._gru_cell import GRUCell
from ._keras_loop import LOOPS, STANDS_IN, outputs_for_keras
from ._recording import Record, records

_LOOPS = (*LOOPS.values(), keras.layers.GRU.inner_loop)
_STEPS = (keras.layers.GRUCell.call, GRUCell.call)


def why_not_gru(layer: Any) -> str | None:
    """Why the loop of a layer of Keras cannot be that of a GRU here; None where it can."""
    cell = layer.cell
    if not isinstance(cell, keras.layers.GRUCell):
        return f"{type(cell).__name__}, which is not a GRU cell"
    if type(cell).call not in _STEPS:
        return f"{type(cell).__name__}, which has a step of its own"
    loop = type(layer).inner_loop
    if loop not in _LOOPS and not hasattr(loop, STANDS_IN):
        return f"{type(layer).__name__}, which has a loop of its own"
    return None


def run_gru_loop(
    layer: Any,
    sequences: Array,
    initial_state: Any,
    mask: Any,
    training: bool = False,
    *,
    engine: str = "auto",
) -> tuple[Array, Array, list[Any]]:
    """What `inner_loop` of Keras returns: the last output, all outputs, the last states."""
    cell: Any = layer.cell
    mask = mask[0] if isinstance(mask, (list, tuple)) else mask
    # That of a stateful layer is its variable, which the call writes to in the end.
    hidden_state = keras.ops.copy(keras.tree.flatten(initial_state)[0])
    dropout_mask, recurrent_dropout_mask = GRUCell.draw_dropout_masks(
        cell, sequences[:, 0, :], hidden_state, bool(training)
    )
    zeros = layer.zero_output_for_mask and mask is not None
    watching = records()
    names: tuple[GRUStateName, ...] = ("hidden_state",)
    if watching is not None:
        names = GRU_STATE_NAMES
    elif layer.return_sequences or zeros:
        names = ("hidden_states", "hidden_state")
    values, decision = gru_and_decision(
        keras.ops.cast(sequences, cell.compute_dtype),
        **GRUCell.weights_for_ops(cell),
        hidden_state=hidden_state,
        mask=mask,
        dropout_mask=dropout_mask,
        recurrent_dropout_mask=recurrent_dropout_mask,
        go_backwards=layer.go_backwards,
        unroll=layer.unroll,
        outputs=names,
        engine=engine,
        where=f'{type(layer).__name__} "{layer.name}"',
    )
    states: dict[AnyStateName, Array] = dict(zip(names, values, strict=True))
    if watching is not None:
        states = watching.add(Record(layer, sequences, mask, hidden_state, None, states, decision))
    if zeros and layer.go_backwards:
        mask = keras.ops.flip(mask, axis=1)
    last, outputs = outputs_for_keras(
        states["hidden_state"], states.get("hidden_states"), mask if zeros else None
    )
    return last, outputs, [states["hidden_state"]]
