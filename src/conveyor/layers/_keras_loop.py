"""The loop over time of Keras's own LSTM and GRU layers, computed by `ops.lstm` and `ops.gru`."""

from __future__ import annotations

from typing import Any

import keras

from .._engines import Array
from .._vocabulary import AnyStateName
from ._cell_over_time import asked_of_cell, run_cell
from ._known_cells import cells_of, is_stack_of_cells


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
    before = initial_state if is_stack_of_cells(layer) else [initial_state]
    zeros = layer.zero_output_for_mask and mask is not None
    x, backwards, after = sequences, layer.go_backwards, []
    states: dict[AnyStateName, Array] = {}
    for n, cell in enumerate(cells):
        every = layer.return_sequences or zeros or n < len(cells) - 1
        call = asked_of_cell(layer, cell, x, before[n], mask, training, backwards, every)
        states = run_cell(layer, cell, call, engine)
        after.append(_as_given(states, before[n]))
        x = states.get("hidden_states")
        if backwards and mask is not None:
            mask = keras.ops.flip(mask, axis=1)
        backwards = False  # hidden states come in the order in which the steps were read
    last, outputs = outputs_for_keras(states["hidden_state"], x, mask if zeros else None)
    # A stack of one has the states of a cell, to Keras.
    return last, outputs, keras.tree.flatten(after) if len(after) == 1 else after


def _as_given(states: dict[AnyStateName, Array], before: Any) -> Any:
    """The states after the last step, in the form of those before: a GRU's stand in no list too."""
    if not keras.tree.is_nested(before):
        return states["hidden_state"]
    return [states[name] for name in ("hidden_state", "cell_state") if name in states]


def outputs_for_keras(last: Array, every: Array | None, mask: Array | None) -> tuple[Array, Array]:
    """The last output and all outputs: zeros where `mask`, in the order read, skips a step."""
    outputs = last[:, None] if every is None else every
    if mask is None:
        return last, outputs
    counts = keras.ops.cast(mask, "bool")[:, :, None]
    outputs = keras.ops.where(counts, outputs, keras.ops.zeros_like(outputs))
    return outputs[:, -1], outputs
