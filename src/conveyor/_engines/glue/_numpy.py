"""Keras's NumPy backend: a plain loop."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import numpy as np

from ..._errors import ConveyorError
from .. import _native, _native_gru, _native_numpy
from .._gru_request import GRURequest, GRUStates
from .._request import Activation, Array, LSTMRequest, Run, States
from ._state_variable import StateVariable as StateVariable


def scan(step: Any, carry: Any, steps: tuple[Array, ...], *, kept: int, unroll: bool) -> Any:
    rows: list[tuple[Array, ...]] = []
    for one_of_each in zip(*steps, strict=True):
        carry, row = step(carry, one_of_each)
        rows.append(row)
    return carry, tuple(np.stack([row[k] for row in rows]) for k in range(kept))


def in_segments(segment: Any, shared: Any, carry: Any, steps: tuple[Array, ...]) -> Any:
    rows: list[tuple[Array, ...]] = []
    for one_of_each in zip(*steps, strict=True):
        carry, row = segment(shared, carry, one_of_each)
        rows.append(row)
    return carry, tuple(map(np.stack, zip(*rows, strict=True)))


def compiled(run: Run, request: LSTMRequest) -> States:
    return run(request)


def why_not_native(arrays: Sequence[Array]) -> str | None:
    return None  # there is nothing but arrays, and no gradient


def native(request: LSTMRequest | GRURequest) -> States | GRUStates:
    r = request
    if isinstance(r, GRURequest):
        found, _ = _native_gru.forward(_native_gru.problem(r), r.arrays(), r.outputs)
        return cast(GRUStates, found)
    states, _ = _native_numpy.forward(_native.problem(r), r.arrays(), r.outputs)
    return states


def native_together(requests: Sequence[LSTMRequest]) -> list[States]:
    return _native_numpy.forward_together(
        [(_native.problem(r), r.arrays(), r.outputs) for r in requests]
    )


def native_stack(requests: Sequence[LSTMRequest]) -> list[States]:
    return _native_numpy.forward_together(
        [(_native.problem(r), r.arrays(), r.outputs) for r in requests], stack=True
    )


def empty(x: Array, width: int) -> Array:
    return np.empty((*x.shape[:2], width), x.dtype)


def native_cross_entropy(*arrays: Any, **options: Any) -> list[Array]:
    return _native_numpy.cross_entropy(*arrays, **options)


def native_top_k(*arrays: Any, k: int) -> list[Array]:
    return _native_numpy.top_k(*arrays, k=k)


def sum_with_gradients(run: Any, arrays: Sequence[Array], labels: Array) -> tuple[Array, Any]:
    value, rest, _ = run(arrays, labels, False)
    return value, rest


def threads() -> int:
    return 0


def own(array: Array) -> bool:
    return type(array) is np.ndarray


def concrete(array: Array) -> np.ndarray | None:
    return np.asarray(array)


def require(condition: Array, message: str, value: Array) -> Array:
    return value  # shapes are known while this framework traces: the caller has looked


def exact(activation: Activation) -> Activation:
    return activation


def float64() -> AbstractContextManager[None]:
    return nullcontext()


def without_gradients() -> AbstractContextManager[None]:
    return nullcontext()


def gradients(function: Any, arrays: Sequence[np.ndarray]) -> tuple[Array, list[Array]]:
    raise ConveyorError(
        "Keras's NumPy backend has no gradients.\n"
        "Set KERAS_BACKEND=jax, torch or tensorflow before Keras is imported."
    )


def in_one_pass(optimizer: type) -> type:
    return optimizer
