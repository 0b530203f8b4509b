"""An LSTM in segments of time: what one of them keeps for its gradient is computed again.

Chen, Xu, Zhang & Guestrin 2016, "Training Deep Nets with Sublinear Memory Cost", arXiv:1604.06174;
for recurrent networks Gruslys et al. 2016, arXiv:1606.03401. Between segments lie the two states,
so T steps in segments of k keep T/k pairs of states, and all that the engine needs of k steps.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from keras import ops

from .._vocabulary import StateName, has_time_axis
from . import _native, _portable, glue
from ._request import Array, LSTMRequest, Run, States

_OVER_TIME = ("x", "mask", "resets", "hidden_zoneout", "cell_zoneout")
_STATES: tuple[StateName, ...] = ("hidden_state", "cell_state")


def native(request: LSTMRequest) -> States:
    """The states of the request, on the native engine."""
    return _run(request, _native.run)


def portable(request: LSTMRequest) -> States:
    """The states of the request, on the portable engine."""
    return _run(request, _portable.run)


def _run(request: LSTMRequest, engine: Run) -> States:
    r = request
    steps = _segments(r)
    shared = {
        name: array
        for name, array in r.arrays().items()
        if array is not None and name not in (*_OVER_TIME, *_STATES)
    }
    sequences = tuple(dict.fromkeys(name for name in r.outputs if has_time_axis(name)))
    nothing: dict[str, Any] = dict.fromkeys(r.arrays())
    wanted: tuple[StateName, ...] = (*sequences, *_STATES)
    blank = replace(r, **nothing, go_backwards=False, remat=0, outputs=wanted)

    def segment(shared_arrays: Any, carry: Any, one: Any) -> tuple[Any, Any]:
        arrays: dict[str, Any] = dict(zip(shared, shared_arrays, strict=True))
        arrays |= zip(steps, one, strict=True)
        arrays |= zip(_STATES, carry, strict=True)
        states = engine(replace(blank, **arrays))
        return tuple(states[n] for n in _STATES), tuple(states[n] for n in sequences)

    carry, rows = glue.active().in_segments(
        segment, tuple(shared.values()), _states_before(r), tuple(steps.values())
    )
    made: dict[StateName, Array] = dict(zip(("hidden_state", "cell_state"), carry, strict=True))
    for name, values in zip(sequences, rows, strict=True):
        made[name] = _joined(values, r.x)
    return {name: made[name] for name in r.outputs}


def _segments(r: LSTMRequest) -> dict[str, Array]:
    """Arrays (N, B, k, ...), in the order of reading; what is behind the last step is masked."""
    steps = {n: a for n in _OVER_TIME if (a := getattr(r, n)) is not None}
    if r.go_backwards:
        steps = {name: ops.flip(array, axis=1) for name, array in steps.items()}
    batch, time_steps = ops.shape(r.x)[:2]
    padding = -time_steps % r.remat
    if not (isinstance(padding, int) and padding == 0):
        steps.setdefault("mask", ops.ones((batch, time_steps), "bool"))
        for name, array in steps.items():
            rest = ops.zeros((batch, padding, *array.shape[2:]), array.dtype)
            steps[name] = ops.concatenate([array, rest], axis=1)
    for name, array in steps.items():
        # Not -1: nobody can tell it from an empty batch.
        shape = (batch, (time_steps + padding) // r.remat, r.remat, *array.shape[2:])
        axes = (1, 0, 2, *range(3, len(shape)))
        steps[name] = ops.transpose(ops.reshape(array, shape), axes)
    return steps


def _joined(values: Array, x: Array) -> Array:
    """(N, B, k, U) -> (B, T, U)."""
    batch, time_steps = ops.shape(x)[:2]
    segments, _, length, units = ops.shape(values)
    every = ops.transpose(values, (1, 0, 2, 3))
    return ops.reshape(every, (batch, segments * length, units))[:, :time_steps]


def _states_before(r: LSTMRequest) -> tuple[Array, Array]:
    batch, dtype = ops.shape(r.x)[0], r.x.dtype
    h, c = (
        ops.zeros((batch, size), dtype) if state is None else ops.cast(state, dtype)
        for state, size in ((r.hidden_state, r.hidden_size), (r.cell_state, r.units))
    )
    return h, c
