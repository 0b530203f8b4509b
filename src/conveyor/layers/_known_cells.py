"""Recurrent layers whose equations are known: LSTMs and GRUs, of Keras and of conveyor."""

from __future__ import annotations

from typing import Any

import keras

from . import _gru_loop, _keras_loop
from ._keras_loop import STANDS_IN, cells_of, why_not

_STEPS = _gru_loop._STEPS + _keras_loop._STEPS


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

    What `why_not` says of LSTMs, for GRUs and stacks of both as well.
    """
    if not has_gru(layer):
        return why_not(layer)
    for cell in cells_of(layer):
        if not isinstance(cell, keras.layers.GRUCell | keras.layers.LSTMCell):
            return f"{type(cell).__name__}, which is neither an LSTM nor a GRU cell"
        if type(cell).call not in _STEPS:
            return f"{type(cell).__name__}, which has a step of its own"
    loop = type(layer).inner_loop
    if loop not in _gru_loop._LOOPS and not hasattr(loop, STANDS_IN):
        return f"{type(layer).__name__}, which has a loop of its own"
    return None
