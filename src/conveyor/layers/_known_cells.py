"""Recurrent layers whose equations are known: LSTMs and GRUs, of Keras and of conveyor."""

from __future__ import annotations

from typing import Any

import keras

from ._cell import LSTMCell
from ._gru_cell import GRUCell

# The loops over time as they are in Keras, whatever is put in their place later.
LOOPS = {cls: cls.inner_loop for cls in (keras.layers.RNN, keras.layers.LSTM, keras.layers.GRU)}
# Marks a function that stands in the place of one of `LOOPS`.
STANDS_IN = "_conveyor_stands_in"

_CELLS = keras.layers.LSTMCell | keras.layers.GRUCell
_STEPS = (keras.layers.LSTMCell.call, LSTMCell.call, keras.layers.GRUCell.call, GRUCell.call)


def cells_of(layer: Any) -> list[Any]:
    """The cell of a layer, or those of a stack."""
    parts = getattr(layer, "parts", None)
    if parts:
        return [part.cell for part in parts.flat()]
    return list(layer.cell.cells) if is_stack_of_cells(layer) else [layer.cell]


def is_stack_of_cells(layer: Any) -> bool:
    """Whether this is `RNN([cell, cell])`."""
    return isinstance(layer.cell, keras.layers.StackedRNNCells)


def is_gru_cell(cell: Any) -> bool:
    """Whether this is a cell of a GRU, by Keras's class or by ours."""
    return isinstance(cell, keras.layers.GRUCell)


def has_gru(layer: Any) -> bool:
    """Whether a recurrent layer runs a GRU cell: alone, in a stack, or in one of two directions."""
    if isinstance(layer, keras.layers.Bidirectional):
        return has_gru(layer.forward_layer) or has_gru(layer.backward_layer)
    return any(map(is_gru_cell, cells_of(layer)))


def why_unknown(layer: Any) -> str | None:
    """Why the numbers of a recurrent layer cannot be told from its weights; None where they can.

    `ops.lstm` and `ops.gru` compute what can be told.
    """
    for cell in cells_of(layer):
        if not isinstance(cell, _CELLS):
            return f"{type(cell).__name__}, which is neither an LSTM nor a GRU cell"
        if type(cell).call not in _STEPS:
            return f"{type(cell).__name__}, which has a step of its own"
    loop = type(layer).inner_loop
    if loop not in LOOPS.values() and not hasattr(loop, STANDS_IN):
        return f"{type(layer).__name__}, which has a loop of its own"
    return None
