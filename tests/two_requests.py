"""Two LSTMs that differ in all that two requests may differ in, in one call or in two."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cases import Case
from conveyor.ops._lstm import lstms_and_decisions

CASES = (
    Case(name="forward", batch=2, mask="holes", initial_states=True, dropout="shared"),
    Case(name="backward", batch=2, units=5, go_backwards=True, use_bias=False, seed=1),
)
OUTPUTS = (("hidden_states", "cell_state"), ("forget_gates",))
FLOATS = ("x", "kernel", "recurrent_kernel", "bias", "hidden_state", "cell_state", "dropout_mask")


def float_arrays(convert: Callable[[Any], Any]) -> list[dict[str, Any]]:
    """Those of each case, which functions are of."""
    every = [case.arguments("float64") for case in CASES]
    return [{n: convert(a[n]) for n in FLOATS if a[n] is not None} for a in every]


def states_of(arrays: list[dict[str, Any]], *, together: bool = True) -> list[Any]:
    """Those of both: three arrays."""
    asked = [
        {**case.arguments("float64"), **its, "outputs": o, "engine": "native", "where": "test"}
        for case, its, o in zip(CASES, arrays, OUTPUTS, strict=True)
    ]
    groups = [asked] if together else [[each] for each in asked]
    return [
        state for group in groups for states, _ in lstms_and_decisions(group) for state in states
    ]
