"""The gradients of the states at every step, from those that arrive at what a layer returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from keras import ops

from .._engines import glue
from .._vocabulary import StateName
from ..layers import LSTMCell, Record
from ..layers._variant import refuse_variants
from ._trace_arrays import PREACTIVATIONS, begun_anew, counted, preactivations, states_before

Array = npt.NDArray[Any]

LAST: dict[StateName, StateName] = {
    "hidden_state": "hidden_states",
    "cell_state": "cell_states",
}
GATES: tuple[StateName, ...] = ("input_gates", "forget_gates", "candidates", "output_gates")


@dataclass(frozen=True)
class StateGradients:
    """Of the loss with respect to what a call computed, in the order in which it read.

    Attributes:
        hidden_states, cell_states: (B, T, U), of h and c after each step: by every way on which
            they reach the loss, those through the steps after it included.
        cell_states_handed_on: (B, T, U), the part of it that came through the next step.
        preactivations: (B, T, 4U), of z of the four gates; zero at masked steps.
        inputs: (B, T, F), of x at each step.
        counts: (B, T), True where the step counts.
    """

    hidden_states: Array
    cell_states: Array
    cell_states_handed_on: Array
    preactivations: Array
    inputs: Array
    counts: Array


def backward(record: Record, arriving: Mapping[StateName, Array]) -> StateGradients:
    """Run a call backwards, as in training, and keep what passes by (in float64).

    Args:
        record: of the call.
        arriving: the gradients that arrive at the states that it returned; none is zeros.

    The maths is that of back-propagation through time (Werbos 1990; for the LSTM with forget
    gates Gers et al. 2000), whose every product is exact: nothing is truncated.
    """
    refuse_variants(
        record.layer.cell,
        f'LSTM "{record.layer.name}", whose gradients through time are asked for,',
        "the plain LSTM",
        "Training has its gradients, as do trace and explain its states and equations; here they "
        "are worked out by the equations of the plain one.",
        "recurrent_weight_dropout",
    )
    # Steps first, so that the arrays of a step lie together: (T, B, ...).
    states = {name: _by_step(_wide(record.states[name])) for name in (*GATES, "cell_states")}
    i, f, g, o = (states[name] for name in GATES)
    steps, batch, units = i.shape
    counts = _counts(record, batch, steps)
    counted_steps = _by_step(counts)[..., None]
    slopes = np.where(counted_steps, _by_step(_slopes(record)), 0)
    weights = LSTMCell.weights_for_ops(record.layer.cell)
    to_inputs, to_hidden = (
        np.ascontiguousarray(_wide(weights[name]).T) for name in ("kernel", "recurrent_kernel")
    )
    c = states["cell_states"]
    before = states_before(record, record.cell_state, record.states["cell_states"])
    before = _by_step(_wide(before))
    cut = begun_anew(record)  # what a step that begins anew gets does not go on to the one before
    goes_on = np.ones_like(counted_steps) if cut is None else _by_step(cut == 0)[..., None]
    shown, shown_slope = _shown(record, c)

    arrived = _arrived(arriving, (steps, batch, units))
    d_h, d_c = arrived["hidden_states"], arrived["cell_states"]
    handed_on = np.zeros_like(d_c)
    d_z = np.zeros((steps, batch, 4 * units))
    for t in reversed(range(steps)):
        here = counted_steps[t]
        d_c[t] += np.where(here, d_h[t] * o[t] * shown_slope[t], 0)
        at_gates = (
            d_c[t] * g[t] + arrived["input_gates"][t],
            d_c[t] * before[t] + arrived["forget_gates"][t],
            d_c[t] * i[t] + arrived["candidates"][t],
            d_h[t] * shown[t] + arrived["output_gates"][t],
        )
        d_z[t] = np.concatenate(at_gates, axis=1) * slopes[t]
        if t:
            to_h = np.where(here, d_z[t] @ to_hidden, d_h[t])
            to_c = np.where(here, d_c[t] * f[t], d_c[t])
            to_h, to_c = (np.where(goes_on[t], d, 0) for d in (to_h, to_c))
            d_h[t - 1] += to_h
            d_c[t - 1] += to_c
            through_h = np.where(counted_steps[t - 1], to_h * o[t - 1] * shown_slope[t - 1], 0)
            handed_on[t - 1] = to_c + through_h
    d_h, d_c, handed_on, d_z, d_x = (
        np.swapaxes(array, 0, 1) for array in (d_h, d_c, handed_on, d_z, d_z @ to_inputs)
    )
    return StateGradients(d_h, d_c, handed_on, d_z, d_x, counts)


def _by_step(array: Array) -> Array:
    return np.ascontiguousarray(np.swapaxes(array, 0, 1))


def _arrived(
    arriving: Mapping[StateName, Array], shape: tuple[int, int, int]
) -> dict[StateName, Array]:
    """(T, B, U) for each state over time, what arrives at the last states included."""
    arrived: dict[StateName, Array] = {name: np.zeros(shape) for name in (*GATES, *LAST.values())}
    for name, values in arriving.items():
        if name in LAST:
            arrived[LAST[name]][-1] += values
        else:
            arrived[name] += np.swapaxes(values, 0, 1)
    return arrived


def _counts(record: Record, batch: int, steps: int) -> Array:
    mask = counted(record)
    if mask is None:
        return np.ones((batch, steps), bool)
    return mask[:, ::-1] if record.layer.go_backwards else mask


def _slopes(record: Record) -> Array:
    """(B, T, 4U): of the activation of each gate where it was, whichever function it is."""
    cell = record.layer.cell
    z = preactivations(record)
    parts = []
    for name in PREACTIVATIONS:
        gate = cell.activation if name.startswith("candidate") else cell.recurrent_activation
        parts.append(_slope(gate, np.asarray(ops.convert_to_numpy(z[name]))))
    return np.concatenate(parts, axis=-1)


def _shown(record: Record, cell_states: Array) -> tuple[Array, Array]:
    """phi(c) and its slope."""
    phi = record.layer.cell.activation
    c = cell_states.astype(str(_dtype_of(record)))
    return _wide(phi(ops.convert_to_tensor(c))), _slope(phi, c)


def _slope(function: Any, z: Array) -> Array:
    _, (slope,) = glue.active().gradients(lambda z: ops.sum(function(z)), [np.ascontiguousarray(z)])
    return _wide(slope)


def _dtype_of(record: Record) -> str:
    dtype = glue.dtype_name(record.states["cell_states"])
    return "float64" if dtype == "float64" else "float32"


def _wide(value: Any) -> Array:
    if glue.dtype_name(value) in ("bfloat16", "float16"):
        value = ops.cast(value, "float32")
    return np.asarray(ops.convert_to_numpy(value), "float64")
