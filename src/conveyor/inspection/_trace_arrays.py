"""From the record of one call to the arrays of a trace."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from .._engines import glue
from .._errors import lesson
from ..layers import GRUCell, LSTMCell, Record
from ..layers._variant import PLAIN, variant_of
from ..ops._resets import begin_anew
from ._gru_preactivations import of_gru
from ._kinds import ALL_OVER_TIME, ALL_PREACTIVATIONS, GRU_KIND, kind_of
from ._variant_preactivations import of_variant

Array = npt.NDArray[Any]


def over_time(name: str) -> bool:
    """Whether an array of a trace has a value for each time step."""
    return name in ALL_PREACTIVATIONS or name in ALL_OVER_TIME


def counted(record: Record) -> Array | None:
    """(B, T), True where the step counts, in the user's order; None where all do."""
    if record.mask is None:
        return None
    mask = np.asarray(ops.convert_to_numpy(record.mask)).astype(bool)
    return None if mask.all() else mask


def arrays_of(record: Record, names: Collection[str]) -> dict[str, Array]:
    """The arrays of these names, (B, T, U) or (B, U), with time in the user's order.

    Steps that do not count are as the layer gave them; `counted` says which.
    """
    made: dict[str, Any] = {str(name): state for name, state in record.states.items()}
    made |= {
        "initial_hidden_state": record.hidden_state,
        "initial_cell_state": record.cell_state,
    }
    if any(name in names for name in ALL_PREACTIVATIONS):
        made.update(preactivations(record))
    backwards = record.layer.go_backwards
    arrays = {}
    for name in names:
        array = _to_numpy(made[name])
        arrays[name] = array[:, ::-1] if backwards and over_time(name) else array
    return arrays


def _to_numpy(value: Any) -> Array:
    if glue.dtype_name(value) in ("bfloat16", "float16"):
        value = ops.cast(value, "float32")
    array: Array | None = glue.active().concrete(value)
    if array is None:
        raise lesson(
            "trace",
            "a model whose layers run one by one, where their states can be read",
            "one that runs them inside of a compiled function",
            "Pass the model without jax.jit or tf.function inside of its call.",
        )
    return array


def states_before(record: Record, start: Any, states: Any) -> Any:
    """(B, T, U): what each step began with, of the states (B, T, U) after it, as they were read."""
    before = ops.concatenate([start[:, None], states[:, :-1]], axis=1)
    reset = begun_anew(record)
    if reset is None:
        return before
    anew = ops.where(reset[..., None] == 2, start[:, None], ops.zeros_like(before))
    return ops.where(reset[..., None] == 0, before, anew)


def begun_anew(record: Record) -> Array | None:
    """(B, T), in the order in which the steps were read: 1 at zeros, 2 as at the first step."""
    if record.resets is None:
        return None
    x, backwards = record.inputs, record.layer.go_backwards
    reset = np.asarray(ops.convert_to_numpy(begin_anew(x, record.resets, backwards, "trace")))
    return reset[:, ::-1].copy() if backwards else reset


def preactivations(record: Record) -> dict[str, Any]:
    """z = x W + h' R + b, from the hidden states that are there: one product, no loop.

    With all that a variant does to it before the activation.
    """
    kind = kind_of(record.layer.cell)
    of_cell = GRUCell if kind is GRU_KIND else LSTMCell
    weights = of_cell.weights_for_ops(record.layer.cell)
    x, hidden_states = record.inputs, record.states["hidden_states"]
    if record.layer.go_backwards:
        x = ops.flip(x, axis=1)
    before = states_before(record, record.hidden_state, hidden_states)
    wide = "float64" if keras.backend.standardize_dtype(before.dtype) == "float64" else "float32"
    x, before, kernel, recurrent_kernel = (
        ops.cast(array, wide)
        for array in (x, before, weights["kernel"], weights["recurrent_kernel"])
    )
    z_x, z_h = ops.matmul(x, kernel), ops.matmul(before, recurrent_kernel)
    bias = None if weights["bias"] is None else ops.cast(weights["bias"], wide)
    if kind is GRU_KIND:
        return dict(zip(kind.preactivations, of_gru(record, z_x, z_h, bias, before), strict=True))
    if variant_of(record.layer.cell) is not PLAIN:
        cells = states_before(record, record.cell_state, record.states["cell_states"])
        made = of_variant(record, z_x, z_h, bias, cells)
        return dict(zip(kind.preactivations, made, strict=True))
    z = z_x + z_h
    if bias is not None:
        z = z + bias
    return dict(zip(kind.preactivations, ops.split(z, 4, axis=-1), strict=True))
