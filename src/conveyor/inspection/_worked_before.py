"""What an LSTM computes with, in float64, and the states that one of its steps begins with."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from .. import ops
from ..layers._find import Layer
from ..layers._variant import PLAIN, variant_of
from ._worked_inputs import Numbers

_keras_ops: Any = keras.ops  # Keras ships no types


def read(weight: Any) -> Numbers:
    """In float64."""
    return np.asarray(_keras_ops.convert_to_numpy(weight)).astype(np.float64)


def arguments_of(cell: Any) -> dict[str, Any]:
    """What `ops.lstm` is given of a cell, of conveyor or of Keras, at inference, in float64."""
    given = {
        "kernel": read(cell.kernel),
        "recurrent_kernel": read(cell.recurrent_kernel),
        "bias": None if cell.bias is None else read(cell.bias),
        "activation": cell.activation,
        "recurrent_activation": cell.recurrent_activation,
    }
    return given if variant_of(cell) is PLAIN else given | cell.variant_for_ops(read)


def states_before(
    layer: Layer,
    given: dict[str, Any],
    x: Numbers,
    counts: npt.NDArray[np.bool_],
    start: list[Numbers],
    step: int,
) -> list[Numbers]:
    """h and c before one step of `x` (T, F), from those before the first one read."""
    earlier = slice(step + 1, None) if layer.go_backwards else slice(step)
    if len(x[earlier]) == 0:
        return start
    h, c = start
    states = ops.lstm(
        x[None, earlier],
        **given,
        hidden_state=h[None],
        cell_state=c[None],
        mask=counts[None, earlier],
        go_backwards=layer.go_backwards,
        outputs=("hidden_state", "cell_state"),
    )
    return [state[0] for state in states]
