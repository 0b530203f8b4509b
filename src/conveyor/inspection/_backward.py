"""The gradients of the states at every step, from those that arrive at what a layer returns."""

from __future__ import annotations

from collections.abc import Mapping
from types import EllipsisType
from typing import Any

import numpy as np

from .._vocabulary import GATE_NAMES, AnyStateName
from ..layers import Record
from ._gru_backward import backward_of_gru
from ._kinds import GRU_KIND, kind_of
from ._state_gradients import Array, StateGradients, arrived, goes_on
from ._steps_again import Steps, steps_of


def backward(record: Record, arriving: Mapping[AnyStateName, Array]) -> StateGradients:
    """Run a call backwards, as in training, and keep what passes by (in float64).

    Args:
        record: of the call, of an LSTM or a GRU.
        arriving: the gradients that arrive at the states that it returned; none is zeros.

    The maths is that of back-propagation through time (Werbos 1990; for the LSTM with forget
    gates Gers et al. 2000; for the GRU Cho et al. 2014), whose every product is exact: nothing is
    truncated. Beyond the plain LSTM it is that of the equations of `conveyor.LSTM`.
    """
    if kind_of(record.layer.cell) is GRU_KIND:
        return backward_of_gru(record, arriving)
    s = steps_of(record)
    i, f, g, _ = s.gates
    steps, batch, units = i.shape
    of_one_sequence = goes_on(record, s.counts)
    sizes = {
        "hidden_states": s.to_hidden.shape[1],
        **dict.fromkeys((*GATE_NAMES, "cell_states"), units),
    }
    got = arrived(arriving, {name: (steps, batch, size) for name, size in sizes.items()})
    # At the states as they are handed on; and at c as h is made of it, before zoneout.
    d_h, d_belt = got["hidden_states"], got["cell_states"]
    # What arrives at each step by itself, of all steps at once; the next step adds its own below.
    d_c, d_z_o = _at_cell(s, ..., d_h, d_belt, got["output_gates"])
    handed_on = np.zeros_like(d_belt)
    d_z = np.zeros((steps, batch, 4 * units))
    d_z_x = np.zeros((steps, batch, s.to_hidden.shape[0]))
    for t in reversed(range(steps)):
        here = s.counts[t]
        d_sum = _times(s.within, d_c[t], t)
        d_i = d_sum * g[t] + got["input_gates"][t]
        d_f = d_sum * s.before[t] + got["forget_gates"][t]
        d_f = d_f - d_i if s.coupled else d_f
        d_g = d_sum * i[t] + got["candidates"][t]
        of_step = np.split(d_z[t], 4, axis=1)
        for d, slope, at_z in zip((d_i, d_f, d_g), s.slopes, of_step, strict=False):
            at_z[:] = _times(slope, d, t)
        of_step[3][:] = d_z_o[t]
        d_z_x[t], d_z_h = s.into_gates.back(t, d_z[t, :, units:] if s.coupled else d_z[t])
        if t:
            to_h = d_z_h @ s.to_hidden + _times(s.kept_hidden, d_h[t], t)
            to_c = d_sum * f[t] + _times(s.kept_cell, d_belt[t], t)
            for peephole, d in zip(s.peepholes[:2], of_step, strict=False):
                to_c = to_c + _times(peephole, d)
            to_h, to_c = np.where(here, to_h, d_h[t]), np.where(here, to_c, d_belt[t])
            to_h, to_c = (np.where(of_one_sequence[t], d, 0) for d in (to_h, to_c))
            d_h[t - 1] += to_h
            d_belt[t - 1] += to_c
            handed_on[t - 1], at_o = _at_cell(s, t - 1, to_h, to_c)
            d_c[t - 1] += handed_on[t - 1]
            d_z_o[t - 1] += at_o
    d_x = d_z_x @ s.to_inputs
    d_h, d_c, handed_on, d_z, d_x = (
        np.swapaxes(array, 0, 1) for array in (d_h, d_c, handed_on, d_z, d_x)
    )
    return StateGradients(d_h, d_c, handed_on, d_z, d_x, s.counts[..., 0].T)


def _at_cell(
    s: Steps, t: int | EllipsisType, d_h: Array, d_belt: Array, d_o: Array | float = 0.0
) -> tuple[Array, Array]:
    """What arrives at c of step t before zoneout, and at z of its output gate, (B, U) each.

    Args:
        s: the steps.
        t: which of them, or ... for all at once.
        d_h, d_belt: the gradients of the states that it hands on.
        d_o: that of the output gate besides.
    """
    at_o, d_c = s.way_out.back(t, d_h - _times(s.kept_hidden, d_h, t))
    d_z_o = _times(s.slopes[3], at_o + d_o, t)
    d_c = d_c + _times(s.peepholes[3], d_z_o) + d_belt - _times(s.kept_cell, d_belt, t)
    return np.where(s.counts[t], d_c, d_belt), d_z_o


def _times(factor: Array | float, d: Array, t: int | EllipsisType = ...) -> Any:
    """d times the factor of step t, or a number: of 0 nothing, even where d is infinite."""
    if isinstance(factor, np.ndarray):
        return factor[t] * d
    return factor * d if factor else 0.0
