"""The loop over time of Keras's own LSTM layers, computed by `ops.lstm`."""

from __future__ import annotations

from typing import Any

import keras

from .._engines import Array
from .._vocabulary import STATE_NAMES, AnyStateName, StateName
from ..ops._lstm import lstm_and_decision
from ._cell import LSTMCell
from ._recording import Record, records
from ._variant import variant_of

# As they are in Keras, whatever is put in their place later.
LOOPS = {cls: cls.inner_loop for cls in (keras.layers.RNN, keras.layers.LSTM)}
_STEPS = (keras.layers.LSTMCell.call, LSTMCell.call)

# Marks a function that stands in the place of one of `LOOPS`.
STANDS_IN = "_conveyor_stands_in"


def why_not(layer: Any) -> str | None:
    """Why the loop of a recurrent layer cannot be computed here; None where it can."""
    for cell in cells_of(layer):
        if not isinstance(cell, keras.layers.LSTMCell):
            return f"{type(cell).__name__}, which is not an LSTM cell"
        if type(cell).call not in _STEPS:
            return f"{type(cell).__name__}, which has a step of its own"
    loop = type(layer).inner_loop
    if loop not in LOOPS.values() and not hasattr(loop, STANDS_IN):
        return f"{type(layer).__name__}, which has a loop of its own"
    return None


def cells_of(layer: Any) -> list[Any]:
    """The cell of a layer, or those of a stack."""
    parts = getattr(layer, "parts", None)
    if parts:
        return [part.cell for part in parts.flat()]
    return list(layer.cell.cells) if _is_stack(layer) else [layer.cell]


def _is_stack(layer: Any) -> bool:
    return isinstance(layer.cell, keras.layers.StackedRNNCells)


def run_loop(
    layer: Any,
    sequences: Array,
    initial_state: Any,
    mask: Any,
    training: bool = False,
    *,
    engine: str = "auto",
) -> tuple[Array, Array, list[Any]]:
    """What `inner_loop` of Keras returns: the last output, all outputs, the last states.

    A stack of cells is computed cell by cell, each for all steps: the same numbers, as a cell
    reads nothing but the hidden states of the one below.
    """
    mask = mask[0] if isinstance(mask, (list, tuple)) else mask
    cells = cells_of(layer)
    before = initial_state if _is_stack(layer) else [initial_state]
    zeros = layer.zero_output_for_mask and mask is not None
    x, backwards, after = sequences, layer.go_backwards, []
    states: dict[AnyStateName, Array] = {}
    for n, cell in enumerate(cells):
        every = layer.return_sequences or zeros or n < len(cells) - 1
        states = _run(layer, cell, x, before[n], mask, training, backwards, every, engine)
        after.append([states["hidden_state"], states["cell_state"]])
        x = states.get("hidden_states")
        if backwards and mask is not None:
            mask = keras.ops.flip(mask, axis=1)
        backwards = False  # hidden states come in the order in which the steps were read
    last, outputs = outputs_for_keras(states["hidden_state"], x, mask if zeros else None)
    # A stack of one has the states of a cell, to Keras.
    return last, outputs, after[0] if len(after) == 1 else after


def outputs_for_keras(last: Array, every: Array | None, mask: Array | None) -> tuple[Array, Array]:
    """The last output and all outputs: zeros where `mask`, in the order read, skips a step."""
    outputs = last[:, None] if every is None else every
    if mask is None:
        return last, outputs
    counts = keras.ops.cast(mask, "bool")[:, :, None]
    outputs = keras.ops.where(counts, outputs, keras.ops.zeros_like(outputs))
    return outputs[:, -1], outputs


def _run(
    layer: Any,
    cell: Any,
    sequences: Array,
    before: Any,
    mask: Array | None,
    training: bool,
    go_backwards: bool,
    every: bool,
    engine: str,
) -> dict[AnyStateName, Array]:
    """The states of one cell over all steps."""
    # Those of a stateful layer are its variables, which the call writes to in the end.
    hidden_state, cell_state = map(keras.ops.copy, before)
    dropout_mask, recurrent_dropout_mask = LSTMCell.draw_dropout_masks(
        cell, sequences[:, 0, :], hidden_state, bool(training)
    )
    given = LSTMCell.weights_for_ops(cell)
    if training and variant_of(cell).draws:
        given |= cell.drawn(given, *keras.ops.shape(sequences)[:2])
    watching = None if _is_stack(layer) else records()
    last: tuple[StateName, ...] = ("hidden_state", "cell_state")
    names = STATE_NAMES if watching is not None else ("hidden_states", *last) if every else last
    values, decision = lstm_and_decision(
        keras.ops.cast(sequences, cell.compute_dtype),
        **given,
        hidden_state=hidden_state,
        cell_state=cell_state,
        mask=mask,
        dropout_mask=dropout_mask,
        recurrent_dropout_mask=recurrent_dropout_mask,
        go_backwards=go_backwards,
        unroll=layer.unroll,
        outputs=names,
        engine=engine,
        where=f'{type(layer).__name__} "{layer.name}"',
    )
    states: dict[AnyStateName, Array] = dict(zip(names, values, strict=True))
    if watching is not None:
        record = Record(layer, sequences, mask, hidden_state, cell_state, states, decision)
        states = watching.add(record)
    return states
