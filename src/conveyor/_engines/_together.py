"""Several calls of the core that do not wait for each other, as one: side by side where faster."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import c_char_p

from . import _layout, _library, _signals
from ._layout import Problem

# A problem, inputs as in `_library.forward_at`, and the struct of what is read and written.
Call = tuple[Problem, Sequence[int], bytes]


def forward_call(
    problem: Problem, inputs: Sequence[int], states: Sequence[int], reserve: int = 0
) -> Call:
    """What `_library.forward_at` would run."""
    return problem, inputs, _layout.pack_outputs(_layout.SIZE_OF_OUTPUTS, *states, reserve)


def backward_call(
    problem: Problem,
    inputs: Sequence[int],
    hidden_states: int,
    reserve: int,
    d_states: Sequence[int],
    d_inputs: Sequence[int],
) -> Call:
    """What `_library.backward_at` would run."""
    gradients = _layout.pack_gradients(
        _layout.SIZE_OF_GRADIENTS, hidden_states, reserve, *d_states, *d_inputs
    )
    return problem, inputs, gradients


def forward(calls: Sequence[Call]) -> None:
    """Run all; raises what `_library.forward` does."""
    _run(_library._core().conveyor_lstm_forward_together, calls)


def backward(calls: Sequence[Call]) -> None:
    """Run all; raises what `_library.backward` does."""
    _run(_library._core().conveyor_lstm_backward_together, calls)


def _run(function: ctypes._NamedFuncPointer, calls: Sequence[Call]) -> None:
    watch = _signals.watch()
    address = 0 if watch is None else watch.address
    structs = c_char_p * len(calls)
    lstms = structs(*(_layout.pack_lstm(problem, inputs, address) for problem, inputs, _ in calls))
    status = function(lstms, structs(*(results for _, _, results in calls)), len(calls))
    if watch is not None:
        watch.settle()
    if status:
        _library.refuse(status, calls[0][0])
