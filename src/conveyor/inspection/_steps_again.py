"""The steps of a call of an LSTM, worked out once more in float64 from the states of its record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .._engines import glue
from .._vocabulary import GATE_NAMES
from ..layers import LSTMCell, Record
from ._into_gates import IntoGates
from ._state_gradients import Array, by_step, counts_of, slope_in_float64, wide
from ._trace_arrays import states_before
from ._way_out import WayOut


@dataclass(frozen=True)
class Steps:
    """What going back through the steps needs, T first.

    Attributes:
        counts: (T, B, 1), whether the step counts.
        gates: (T, B, U) each, input gate, forget gate, candidate, output gate.
        slopes: of each at what it is a function of; zero at masked steps and beyond `clip`. A
            coupled input gate is no function of its own: 0.
        before: (T, B, U), the cell state that the step began with.
        within: where `cell_clip` lets the cell state be; 1 without.
        kept_hidden, kept_cell: the part of the old state that zoneout keeps, 0 without.
        peepholes: (U,) of input, forget and output gate; 0 where there is none.
        coupled: whether i = 1 - f.
        into_gates, way_out: the ways before the gates and behind the cell state.
        to_inputs, to_hidden: the kernels turned, (gates * U, F) and (gates * U, H).
    """

    counts: Array
    gates: tuple[Array, ...]
    slopes: tuple[Array | float, ...]
    before: Array
    within: Array | float
    kept_hidden: Array | float
    kept_cell: Array | float
    peepholes: tuple[Array | float, ...]
    coupled: bool
    into_gates: IntoGates
    way_out: WayOut
    to_inputs: Array
    to_hidden: Array


def steps_of(record: Record) -> Steps:
    """All of them."""
    given = _arguments(record)
    i, f, g, o = gates = tuple(by_step(wide(record.states[name])) for name in GATE_NAMES)
    steps, batch, units = i.shape
    counts = by_step(counts_of(record, batch, steps))[..., None]
    x, h, before = (by_step(wide(array)) for array in _read(record))
    # What stands in a masked step must not matter, not even a NaN.
    x = np.where(counts, x, 0)
    kernel, recurrent = given["kernel"], given["recurrent_kernel"]
    into = IntoGates(given, x @ kernel, h @ recurrent, kernel.shape[1] // units)

    coupled = bool(given.get("coupled"))
    peepholes = _peepholes(given, coupled)
    c = f * before + i * g
    c, within = _bounded(c, given.get("cell_clip"))
    z = np.split(into.z, kernel.shape[1] // units, axis=-1)
    z = [*[np.zeros_like(c)] * coupled, *z]
    if given.get("peephole") is not None:
        seen: tuple[Array | float, ...] = (before, before, 0.0, c)
        z = [one + p * c for one, p, c in zip(z, peepholes, seen, strict=True)]
    return Steps(
        counts,
        gates,
        _slopes(given, z, counts, coupled),
        before,
        within,
        _kept(given, "hidden_zoneout", record),
        _kept(given, "cell_zoneout", record),
        peepholes,
        coupled,
        into,
        WayOut(given, o, c),
        np.ascontiguousarray(kernel.T),
        np.ascontiguousarray(recurrent.T),
    )


def _arguments(record: Record) -> dict[str, Any]:
    """What `ops.lstm` was given: floats in float64, and what training drew as it was."""
    given = LSTMCell.weights_for_ops(record.layer.cell) | dict(record.drawn)
    return {name: wide(value) if _is_floats(value) else value for name, value in given.items()}


def _is_floats(value: Any) -> bool:
    return hasattr(value, "shape") and "float" in glue.dtype_name(value)


def _read(record: Record) -> tuple[Any, Any, Any]:
    """x, h' and c' of each step, in the order of reading."""
    x = record.inputs
    return (
        wide(x)[:, ::-1] if record.layer.go_backwards else x,
        states_before(record, record.hidden_state, record.states["hidden_states"]),
        states_before(record, record.cell_state, record.states["cell_states"]),
    )


def _peepholes(given: dict[str, Any], coupled: bool) -> tuple[Array | float, ...]:
    """As many as there are gates; the candidate has none."""
    if given.get("peephole") is None:
        return (0.0,) * 4
    *of_i, of_f, of_o = np.split(given["peephole"], 2 if coupled else 3)
    return 0.0 if coupled else of_i[0], of_f, 0.0, of_o


def _slopes(
    given: dict[str, Any], z: list[Array], counts: Array, coupled: bool
) -> tuple[Array | float, ...]:
    found: list[Array | float] = []
    for name, one in zip(GATE_NAMES, z, strict=True):
        if coupled and name == "input_gates":
            found.append(0.0)
            continue
        function = given["activation" if name == "candidates" else "recurrent_activation"]
        bounded, within = _bounded(one, given.get("clip"))
        found.append(np.where(counts, slope_in_float64(function, bounded) * within, 0))
    return tuple(found)


def _bounded(z: Array, bound: float | None) -> tuple[Array, Array | float]:
    """Within the bound, and where it lets be what comes: 1 where there is none."""
    if not bound:
        return z, 1.0
    return np.clip(z, -bound, bound), np.abs(z) <= bound


def _kept(given: dict[str, Any], name: str, record: Record) -> Array | float:
    """The part of a state that is the old one: a number, or (T, B, N) of what was drawn."""
    kept = given.get(name)
    if not hasattr(kept, "shape"):
        return kept or 0.0
    drawn = by_step(wide(kept))
    return drawn[::-1] if record.layer.go_backwards else drawn
