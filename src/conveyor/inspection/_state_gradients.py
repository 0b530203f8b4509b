"""What running a call of a layer backwards gives, and takes: the same for LSTM and GRU."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from keras import ops

from .._engines import glue
from .._vocabulary import AnyStateName
from ..layers import Record
from ._trace_arrays import begun_anew, counted, preactivations

Array = npt.NDArray[Any]

LAST: dict[AnyStateName, AnyStateName] = {
    "hidden_state": "hidden_states",
    "cell_state": "cell_states",
}


@dataclass(frozen=True)
class StateGradients:
    """Of the loss with respect to what a call computed, in the order in which it read.

    Attributes:
        hidden_states: (B, T, U), with a projection (B, T, projection), of h after each step: by
            every way on which it reaches the loss, those through the steps after it included.
        cell_states: (B, T, U), likewise of c; with zoneout of c as h is made of it, before that.
            A GRU has none: None.
        handed_on: (B, T, U), the part of that of c, of a GRU of h, that came through the next
            step.
        preactivations: (B, T, 4U), of z of the four gates, of a GRU (B, T, 3U); zero at masked
            steps, and for a coupled input gate, which has none.
        inputs: (B, T, F), of x at each step.
        counts: (B, T), True where the step counts.
    """

    hidden_states: Array
    cell_states: Array | None
    handed_on: Array
    preactivations: Array
    inputs: Array
    counts: Array

    @property
    def memory(self) -> Array:
        """Of what is kept from step to step: c, of a GRU h."""
        return self.hidden_states if self.cell_states is None else self.cell_states


def arrived(
    arriving: Mapping[AnyStateName, Array], shapes: Mapping[AnyStateName, tuple[int, int, int]]
) -> dict[AnyStateName, Array]:
    """(T, B, N) for each state over time, what arrives at the last states included."""
    found = {name: np.zeros(shape) for name, shape in shapes.items()}
    for name, values in arriving.items():
        if name in LAST:
            found[LAST[name]][-1] += values
        else:
            found[name] += np.swapaxes(values, 0, 1)
    return found


def goes_on(record: Record, like: Array) -> Array:
    """(T, B, 1): whether what arrives at the beginning of a step is of the step before it."""
    cut = begun_anew(record)
    return np.ones_like(like) if cut is None else by_step(cut == 0)[..., None]


def by_step(array: Array) -> Array:
    """Steps first, so that the arrays of a step lie together: (T, B, ...)."""
    return np.ascontiguousarray(np.swapaxes(array, 0, 1))


def counts_of(record: Record, batch: int, steps: int) -> Array:
    """(B, T), in the order in which the steps were read."""
    mask = counted(record)
    if mask is None:
        return np.ones((batch, steps), bool)
    return mask[:, ::-1] if record.layer.go_backwards else mask


def slopes(record: Record) -> Array:
    """(B, T, 3U): the slope of each activation of a GRU at its z."""
    cell = record.layer.cell
    parts = []
    for name, z in preactivations(record).items():
        gate = cell.activation if name.startswith("candidate") else cell.recurrent_activation
        parts.append(slope(gate, np.asarray(ops.convert_to_numpy(z))))
    return np.concatenate(parts, axis=-1)


def slope(function: Any, z: Array) -> Array:
    """Of an activation at z, whichever function it is."""
    _, (at_z,) = glue.active().gradients(lambda z: ops.sum(function(z)), [np.ascontiguousarray(z)])
    return wide(at_z)


def slope_in_float64(function: Any, z: Array) -> Array:
    """The same in float64, whatever the framework computes in by default."""
    with glue.active().float64():
        return slope(glue.active().exact(function), z)


def wide(value: Any) -> Array:
    """In float64."""
    if glue.dtype_name(value) in ("bfloat16", "float16"):
        value = ops.cast(value, "float32")
    return np.asarray(ops.convert_to_numpy(value), "float64")
