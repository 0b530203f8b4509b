"""The same of a call of a GRU: the gradients of its hidden states at every step."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .._vocabulary import GRU_GATE_NAMES, AnyStateName
from ..layers import GRUCell, Record
from ._state_gradients import (
    Array,
    StateGradients,
    arrived,
    by_step,
    counts_of,
    goes_on,
    slopes,
    wide,
)
from ._trace_arrays import states_before


def backward_of_gru(record: Record, arriving: Mapping[AnyStateName, Array]) -> StateGradients:
    """Run a call backwards; see `backward`."""
    cell = record.layer.cell
    z, r, g = (by_step(wide(record.states[name])) for name in GRU_GATE_NAMES)
    steps, batch, units = z.shape
    counts = counts_of(record, batch, steps)
    counted_steps = by_step(counts)[..., None]
    slope_z, slope_r, slope_g = np.split(
        np.where(counted_steps, by_step(slopes(record)), 0), 3, axis=-1
    )
    weights = GRUCell.weights_for_ops(cell)
    to_inputs, recurrent = (wide(weights[name]) for name in ("kernel", "recurrent_kernel"))
    to_gates, to_candidate = (
        np.ascontiguousarray(part.T) for part in np.split(recurrent, [2 * units], axis=1)
    )
    before = states_before(record, record.hidden_state, record.states["hidden_states"])
    before = by_step(wide(before))
    read = before  # what the reset gate is multiplied with
    if cell.reset_after:
        read = before @ to_candidate.T
        if weights["bias"] is not None:
            read = read + wide(weights["bias"])[1, 2 * units :]
    of_one_sequence = goes_on(record, counted_steps)

    names: tuple[AnyStateName, ...] = (*GRU_GATE_NAMES, "hidden_states")
    got = arrived(arriving, dict.fromkeys(names, (steps, batch, units)))
    d_h = got["hidden_states"]
    handed_on = np.zeros_like(d_h)
    d_a = np.zeros((steps, batch, 3 * units))
    for t in reversed(range(steps)):
        d_z = (d_h[t] * (before[t] - g[t]) + got["update_gates"][t]) * slope_z[t]
        d_g = (d_h[t] * (1 - z[t]) + got["candidates"][t]) * slope_g[t]
        d_reset = d_g if cell.reset_after else d_g @ to_candidate  # at r times what it acts on
        d_r = (d_reset * read[t] + got["reset_gates"][t]) * slope_r[t]
        d_a[t] = np.concatenate([d_z, d_r, d_g], axis=1)
        if t:
            d_read = d_reset * r[t]
            to_h = d_h[t] * z[t] + np.concatenate([d_z, d_r], axis=1) @ to_gates
            to_h = to_h + (d_read @ to_candidate if cell.reset_after else d_read)
            to_h = np.where(counted_steps[t], to_h, d_h[t])
            to_h = np.where(of_one_sequence[t], to_h, 0)
            d_h[t - 1] += to_h
            handed_on[t - 1] = to_h
    d_h, handed_on, d_a, d_x = (
        np.swapaxes(array, 0, 1) for array in (d_h, handed_on, d_a, d_a @ to_inputs.T)
    )
    return StateGradients(d_h, None, handed_on, d_a, d_x, counts)
