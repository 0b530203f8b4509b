"""The eight states of every LSTM in a model, as NumPy arrays."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from .._errors import lesson
from ..layers import recording
from ._find import Layer, find_lstms

_ops: Any = keras.ops  # Keras ships no types


def record_states(model: Layer, x: Any) -> dict[str, dict[str, npt.NDArray[Any]]]:
    """Run a model once and keep what its LSTMs computed on the way.

    Args:
        model: a model, or a layer, with at least one `conveyor.LSTM` in it.
        x: what the model is called with: for one LSTM an array (B, T, F).

    Returns:
        For every call of a layer its eight states: (B, T, U), or (B, U) for `hidden_state` and
        `cell_state`. The key is the path of the layer in the model, `decoder/lstm`; a layer that
        runs again in the same pass appears as `decoder/lstm (call 2)`. A layer that goes
        backwards has its steps in the order in which it read them.

    Raises:
        ConveyorError: no `conveyor.LSTM` ran.

    >>> import numpy as np
    >>> from conveyor import LSTM
    >>> states = record_states(LSTM(4, name="lstm"), np.ones((2, 3, 5), "float32"))
    >>> states["lstm"]["cell_states"].shape
    (2, 3, 4)
    """
    with recording() as records:
        model(x)
    if not records:
        raise lesson(
            "record_states",
            "a model in which a conveyor.LSTM runs",
            f'"{model.name}", in which none ran',
            "Only conveyor.LSTM hands out its states: write `from conveyor import LSTM` in place "
            "of keras.layers.LSTM; arguments and weights stay the same.",
        )
    paths = {id(found.layer): found.path for found in find_lstms(model)}
    calls: dict[str, int] = {}
    recorded: dict[str, dict[str, npt.NDArray[Any]]] = {}
    for record in records:
        path: str = paths.get(id(record.layer)) or record.layer.name
        count = calls[path] = calls.get(path, 0) + 1
        key = path if count == 1 else f"{path} (call {count})"
        recorded[key] = {
            name: np.asarray(_ops.convert_to_numpy(state)) for name, state in record.states.items()
        }
    return recorded
