"""The gradients of the states at every step, from those that arrive at what a layer returns."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from keras import ops

from .._engines import glue
from .._vocabulary import GATE_NAMES, AnyStateName
from ..layers import LSTMCell, Record
from ..layers._variant import refuse_variants
from ._gru_backward import backward_of_gru
from ._kinds import GRU_KIND, kind_of
from ._state_gradients import (
    Array,
    StateGradients,
    arrived,
    by_step,
    counts_of,
    goes_on,
    slope,
    slopes,
    wide,
)
from ._trace_arrays import states_before


def backward(record: Record, arriving: Mapping[AnyStateName, Array]) -> StateGradients:
    """Run a call backwards, as in training, and keep what passes by (in float64).

    Args:
        record: of the call, of an LSTM or a GRU.
        arriving: the gradients that arrive at the states that it returned; none is zeros.

    The maths is that of back-propagation through time (Werbos 1990; for the LSTM with forget
    gates Gers et al. 2000; for the GRU Cho et al. 2014), whose every product is exact: nothing is
    truncated.
    """
    if kind_of(record.layer.cell) is GRU_KIND:
        return backward_of_gru(record, arriving)
    refuse_variants(
        record.layer.cell,
        f'LSTM "{record.layer.name}", whose gradients through time are asked for,',
        "the plain LSTM",
        "Training has its gradients, as do trace and explain its states and equations; here they "
        "are worked out by the equations of the plain one.",
        "recurrent_weight_dropout",
    )
    states = {name: by_step(wide(record.states[name])) for name in (*GATE_NAMES, "cell_states")}
    i, f, g, o = (states[name] for name in GATE_NAMES)
    steps, batch, units = i.shape
    counts = counts_of(record, batch, steps)
    counted_steps = by_step(counts)[..., None]
    at_z = np.where(counted_steps, by_step(slopes(record)), 0)
    weights = LSTMCell.weights_for_ops(record.layer.cell)
    to_inputs, to_hidden = (
        np.ascontiguousarray(wide(weights[name]).T) for name in ("kernel", "recurrent_kernel")
    )
    c = states["cell_states"]
    before = states_before(record, record.cell_state, record.states["cell_states"])
    before = by_step(wide(before))
    of_one_sequence = goes_on(record, counted_steps)
    shown, shown_slope = _shown(record, c)

    got = arrived(arriving, (*GATE_NAMES, "hidden_states", "cell_states"), (steps, batch, units))
    d_h, d_c = got["hidden_states"], got["cell_states"]
    handed_on = np.zeros_like(d_c)
    d_z = np.zeros((steps, batch, 4 * units))
    for t in reversed(range(steps)):
        here = counted_steps[t]
        d_c[t] += np.where(here, d_h[t] * o[t] * shown_slope[t], 0)
        at_gates = (
            d_c[t] * g[t] + got["input_gates"][t],
            d_c[t] * before[t] + got["forget_gates"][t],
            d_c[t] * i[t] + got["candidates"][t],
            d_h[t] * shown[t] + got["output_gates"][t],
        )
        d_z[t] = np.concatenate(at_gates, axis=1) * at_z[t]
        if t:
            to_h = np.where(here, d_z[t] @ to_hidden, d_h[t])
            to_c = np.where(here, d_c[t] * f[t], d_c[t])
            to_h, to_c = (np.where(of_one_sequence[t], d, 0) for d in (to_h, to_c))
            d_h[t - 1] += to_h
            d_c[t - 1] += to_c
            through_h = np.where(counted_steps[t - 1], to_h * o[t - 1] * shown_slope[t - 1], 0)
            handed_on[t - 1] = to_c + through_h
    d_h, d_c, handed_on, d_z, d_x = (
        np.swapaxes(array, 0, 1) for array in (d_h, d_c, handed_on, d_z, d_z @ to_inputs)
    )
    return StateGradients(d_h, d_c, handed_on, d_z, d_x, counts)


def _shown(record: Record, cell_states: Array) -> tuple[Array, Array]:
    """phi(c) and its slope."""
    phi = record.layer.cell.activation
    c = cell_states.astype(_dtype_of(record))
    return wide(phi(ops.convert_to_tensor(c))), slope(phi, c)


def _dtype_of(record: Record) -> str:
    dtype = glue.dtype_name(record.states["cell_states"])
    return "float64" if dtype == "float64" else "float32"
