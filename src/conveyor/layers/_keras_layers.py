"""Keras's own LSTM layers, computed by `ops.lstm` for a while, so that they can be watched."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import keras

from .._engines import Array
from .._errors import lesson
from .._vocabulary import STATE_NAMES
from ..ops._lstm import lstm_and_decision
from ._cell import LSTMCell
from ._lstm import LSTM
from ._recording import Record, records

# Where Keras keeps the loop over the steps: states, dropout masks and flags are around it.
_LOOP = "inner_loop"


@contextmanager
def running_here(layers: Iterable[Any]) -> Iterator[None]:
    """Run the loops of these layers through `ops.lstm`, as `conveyor.LSTM` does.

    Their weights are read where they are, and nothing of the layers is changed afterwards.

    Raises:
        ConveyorError: a layer whose class computes something else than an LSTM.
    """
    theirs = [layer for layer in layers if not isinstance(layer, LSTM)]
    for layer in theirs:
        _check_is_plain(layer)
    try:
        for layer in theirs:
            # Past Keras, which would look for weights in it.
            object.__setattr__(layer, _LOOP, partial(_loop, layer))
        yield
    finally:
        for layer in theirs:
            vars(layer).pop(_LOOP, None)


def _loop(
    layer: Any, sequences: Array, initial_state: Any, mask: Any, training: bool = False
) -> tuple[Array, Array, list[Array]]:
    """What `inner_loop` of Keras returns: the last output, all outputs, the last states."""
    mask = mask[0] if isinstance(mask, (list, tuple)) else mask
    cell = layer.cell
    # Those of a stateful layer are its variables, which the call writes to in the end.
    hidden_state, cell_state = map(keras.ops.copy, initial_state)
    dropout_mask, recurrent_dropout_mask = LSTMCell.draw_dropout_masks(
        cell, sequences[:, 0, :], hidden_state, bool(training)
    )
    values, decision = lstm_and_decision(
        keras.ops.cast(sequences, cell.compute_dtype),
        **LSTMCell.weights_for_ops(cell),
        hidden_state=hidden_state,
        cell_state=cell_state,
        mask=mask,
        dropout_mask=dropout_mask,
        recurrent_dropout_mask=recurrent_dropout_mask,
        go_backwards=layer.go_backwards,
        unroll=layer.unroll,
        outputs=STATE_NAMES,
        engine="auto",
        where=f'LSTM "{layer.name}"',
    )
    states = dict(zip(STATE_NAMES, values, strict=True))
    watching = records()
    if watching is not None:
        record = Record(layer, sequences, mask, hidden_state, cell_state, states, decision)
        states = watching.add(record)
    outputs, last = states["hidden_states"], states["hidden_state"]
    if layer.zero_output_for_mask and mask is not None:
        counts = keras.ops.flip(mask, axis=1) if layer.go_backwards else mask
        counts = keras.ops.cast(counts, "bool")[:, :, None]
        outputs = keras.ops.where(counts, outputs, keras.ops.zeros_like(outputs))
        last = outputs[:, -1]
    return last, outputs, [states["hidden_state"], states["cell_state"]]


_LOOPS = (keras.layers.RNN.inner_loop, keras.layers.LSTM.inner_loop)
_STEPS = (keras.layers.LSTMCell.call, LSTMCell.call)


def _check_is_plain(layer: Any) -> None:
    own_loop = type(layer).inner_loop not in _LOOPS
    if own_loop or type(layer.cell).call not in _STEPS:
        changed = type(layer) if own_loop else type(layer.cell)
        raise lesson(
            f'LSTM "{layer.name}"',
            "the computation of keras.layers.LSTM, whose states can be told",
            f"{changed.__name__}, which has a {'loop' if own_loop else 'step'} of its own",
            "Write conveyor.LSTM or keras.layers.LSTM in its place.",
        )
