"""What a loss wants of each state that the LSTMs and GRUs of a model return."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from .._engines import glue
from .._errors import lesson
from .._vocabulary import AnyStateName
from ..layers import GRU, LSTM, Record, Records
from ..layers._find import Layer

Array = npt.NDArray[Any]
Loss = Callable[[Any, Any, Any], Any]  # of x, y and what the model makes of x


def loss_of(model: Layer, loss: Any, where: str) -> Loss:
    """The loss to look at: the one given, else the one that the model was compiled with.

    Raises:
        ConveyorError: there is none.
    """
    if loss is not None:
        function = keras.losses.get(loss)
        return lambda x, y, made: ops.mean(function(y, made))
    if getattr(model, "compiled", False):
        return lambda x, y, made: model.compute_loss(x=x, y=y, y_pred=made)
    raise lesson(
        where,
        "a loss",
        f'"{model.name}", which was not compiled',
        f'Write {where}(model, x, y, loss="mse"), or model.compile(loss=...) first.',
    )


def arriving(
    model: Layer, x: Any, y: Any, loss: Loss, records: Records
) -> tuple[float, list[tuple[Record, dict[AnyStateName, Array]]]]:
    """The loss of one batch, and for each call of a layer the gradients that arrive at it.

    They are found by adding zeros to what each layer returns, and asking for the gradient of
    the loss with respect to these.
    """
    with keras.StatelessScope(), glue.active().without_gradients():
        model(x)
    calls = list(records)
    records.clear()
    names = [_returned(record) for record in calls]
    zeros = [_zeros(r.states[name]) for r, each in zip(calls, names, strict=True) for name in each]

    def loss_with(*added: Any) -> Any:
        rest = iter(added)

        def change(record: Record) -> dict[AnyStateName, Any]:
            nudges = {name: next(rest) for name in names[len(records) - 1]}
            return {n: s + nudges[n] if n in nudges else s for n, s in record.states.items()}

        records.change = change
        try:
            with keras.StatelessScope():
                return ops.cast(loss(x, y, model(x)), "float32")
        finally:
            records.change = None
            records.clear()

    value, gradients = glue.active().gradients(loss_with, zeros)
    rest = iter(np.asarray(ops.convert_to_numpy(g), "float64") for g in gradients)
    found = [
        (record, {name: next(rest) for name in each})
        for record, each in zip(calls, names, strict=True)
    ]
    return float(ops.convert_to_numpy(value)), found


def _returned(record: Record) -> tuple[AnyStateName, ...]:
    if isinstance(record.layer, LSTM | GRU):
        return tuple(dict.fromkeys(record.layer.output_names()))
    last: tuple[AnyStateName, ...] = ("hidden_state", "cell_state")
    return ("hidden_states", *(name for name in last if name in record.states))


def _zeros(state: Any) -> Array:
    # 16-bit states take a float32 zero: JAX promotes, and a gradient of more digits is no harm.
    wide = glue.dtype_name(state) == "float64"
    return np.zeros(tuple(state.shape), "float64" if wide else "float32")
