"""Three LSTMs of which each reads the hidden states of the one before, in one call or in three."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import keras

from cases import Case
from conveyor.ops import _wavefront
from conveyor.ops._lstm import lstms_and_decisions

LAYERS = (
    Case(name="lowest", batch=2, mask="holes", initial_states=True, dropout="shared"),
    Case(name="between", batch=2, features=3, units=5, use_bias=False, seed=1),
    Case(name="top", batch=2, features=5, units=2, initial_states=True, seed=2),
)
OUTPUTS = (("hidden_states", "cell_state"), ("hidden_states",), ("hidden_states", "forget_gates"))
_FLOATS = ("kernel", "recurrent_kernel", "bias", "hidden_state", "cell_state", "dropout_mask")


def float_arrays(convert: Callable[[Any], Any]) -> list[dict[str, Any]]:
    """Those of each layer, which functions are of."""
    every = [case.arguments("float64") for case in LAYERS]
    arrays = [{n: convert(a[n]) for n in _FLOATS if a[n] is not None} for a in every]
    arrays[0]["x"] = convert(every[0]["x"])
    return arrays


def states_of(arrays: list[dict[str, Any]], *, together: bool = True) -> list[Any]:
    """Those of all: five arrays, of which the last two are of the top layer."""
    calls = [
        {**case.arguments("float64"), **its, "outputs": o, "engine": "native", "where": "test"}
        for case, its, o in zip(LAYERS, arrays, OUTPUTS, strict=True)
    ]
    if together:
        for below, call in itertools.pairwise(calls):
            call["x"] = _wavefront.promised(below["x"], below["recurrent_kernel"].shape[0])
        answers = lstms_and_decisions(calls, stack=True)
        return [state for states, _ in answers for state in states]
    found: list[Any] = []
    x = calls[0]["x"]
    for call in calls:
        [(states, _)] = lstms_and_decisions([{**call, "x": x}])
        x = states[0]
        found += states
    return found


def loss_of(arrays: list[dict[str, Any]], *, together: bool = True, of: str = "top") -> Any:
    """Of states of the top layer, of the lowest, or of all."""
    low, c, between, hs, f = states_of(arrays, together=together)
    terms = {
        "top": keras.ops.sum(hs**2) + keras.ops.sum(f**3),
        "lowest": keras.ops.sum(c * low[:, 0]),
    }
    return {**terms, "all": sum(terms.values()) + keras.ops.sum(between**4)}[of]
