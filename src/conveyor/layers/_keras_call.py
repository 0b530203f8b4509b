"""What Keras's LSTM does around its loop, as two halves: before it, and after it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from .._engines import Array, Decision
from ._cell_over_time import asked_of_cell, states_told
from ._keras_layers import runs_here
from ._keras_loop import outputs_for_keras
from ._known_cells import why_unknown


def is_plain_of_keras(layer: Any) -> bool:
    """Whether a layer of Keras does what is done here, and nothing more."""
    if type(layer) not in (keras.layers.LSTM, keras.layers.RNN) or why_unknown(layer) is not None:
        return False
    if not isinstance(layer.cell, keras.layers.LSTMCell) or runs_here(layer):
        return False
    if layer.cell.compute_dtype != layer.compute_dtype or layer.activity_regularizer is not None:
        return False
    asks_for_more = layer.stateful or layer.unroll or getattr(layer, "use_cudnn", "auto") is True
    return not asks_for_more


def asked_by_keras(
    layer: Any, sequences: Array, initial_state: Any, mask: Array | None, training: bool
) -> dict[str, Any]:
    """What a call asks of `ops.lstm`."""
    cell = layer.cell
    if initial_state is None:
        initial_state = layer.get_initial_state(batch_size=keras.ops.shape(sequences)[0])
    before = [keras.ops.cast(state, cell.compute_dtype) for state in initial_state]
    # Keras draws outside of training as well: the numbers drawn next are then the same.
    cell.get_dropout_mask(sequences[:, 0, :])
    cell.get_recurrent_dropout_mask(before[0])
    every = layer.return_sequences or (layer.zero_output_for_mask and mask is not None)
    backwards = layer.go_backwards
    call = asked_of_cell(layer, cell, sequences, before, mask, training, backwards, every)
    cell.reset_dropout_mask()
    cell.reset_recurrent_dropout_mask()
    return {**call, "engine": "auto"}


def answered_to_keras(
    layer: Any, call: dict[str, Any], values: Sequence[Array], decision: Decision
) -> tuple[Array, ...]:
    """What the layer returns, of what `asked_by_keras` asked for."""
    states, mask = states_told(layer, call, values, decision), call["mask"]
    if mask is not None and layer.go_backwards:
        mask = keras.ops.flip(mask, axis=1)
    last, outputs = outputs_for_keras(
        states["hidden_state"],
        states.get("hidden_states"),
        mask if layer.zero_output_for_mask else None,
    )
    after = (states["hidden_state"], states["cell_state"]) if layer.return_state else ()
    return (outputs if layer.return_sequences else last, *after)
