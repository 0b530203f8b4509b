"""The native engine on NumPy arrays."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping

import numpy as np

from .._vocabulary import STATE_NAMES, StateName
from . import _library, _linear, _together
from ._library import Problem

Inputs = Mapping[str, np.ndarray | None]  # by the names of LSTMRequest

_ALIGNMENT = 64  # a cache line: no vector lies in two


def forward(
    problem: Problem, inputs: Inputs, names: Iterable[StateName], *, reserve: bool = False
) -> tuple[dict[StateName, np.ndarray], np.ndarray | None]:
    """The named states, and what the backward pass needs where `reserve` says so.

    `hidden_states` must be among the names then.
    """
    p = problem
    states = _states(p, names)
    kept = _empty((_library.reserve_bytes(p),), np.dtype("uint8")) if reserve else None
    arrays = _as_the_core_reads(p, inputs)
    _library.forward(
        p,
        _addresses(arrays),
        {name: _address(state) for name, state in states.items()},
        None if kept is None else _address(kept),
    )
    return states, kept


def forward_together(
    several: Iterable[tuple[Problem, Inputs, Iterable[StateName]]], *, stack: bool = False
) -> list[dict[StateName, np.ndarray]]:
    """The named states of each; in a stack each reads the hidden states of the one before for x."""
    results: list[dict[StateName, np.ndarray]] = []
    calls, kept_alive = [], []
    for problem, inputs, names in several:
        below = {"x": results[-1]["hidden_states"]} if stack and results else {}
        arrays = _as_the_core_reads(problem, {**inputs, **below})
        states = _states(problem, names)
        to = {name: _address(state) for name, state in states.items()}
        calls.append(
            _together.forward_call(
                problem,
                [_addresses(arrays).get(name) or 0 for name in _library.INPUTS],
                [to.get(name) or 0 for name in STATE_NAMES],
            )
        )
        results.append(states)
        kept_alive.append(arrays)
    _together.forward(calls)
    return results


def _states(p: Problem, names: Iterable[StateName]) -> dict[StateName, np.ndarray]:
    dtype = numpy_dtype(p.dtype)
    return {name: _empty(p.state_shape(name), dtype) for name in names}


def backward(
    problem: Problem,
    inputs: Inputs,
    hidden_states: np.ndarray,
    reserve: np.ndarray,
    d_states: Mapping[StateName, np.ndarray],
    names: Iterable[str],
) -> dict[str, np.ndarray]:
    """The gradients of the named inputs, from those of the states; an absent one is zeros."""
    p = problem
    real = numpy_dtype(p.dtype)
    arrays = _as_the_core_reads(p, inputs)
    hidden_states = dense(hidden_states, real)
    arriving = {name: dense(d, real) for name, d in d_states.items()}
    d_inputs = {name: _empty(arrays[name].shape, arrays[name].dtype) for name in names}
    _library.backward(
        p,
        _addresses(arrays),
        _address(hidden_states),
        _address(reserve),
        {name: _address(d) for name, d in arriving.items()},
        {name: _address(d) for name, d in d_inputs.items()},
    )
    return d_inputs


def cross_entropy(
    features: np.ndarray,
    kernel: np.ndarray,
    bias: np.ndarray | None,
    labels: np.ndarray,
    *,
    label_smoothing: float,
    ignored: int,
    wanted: bool,
) -> list[np.ndarray]:
    """Losses, cross entropies, and where `wanted` gradients of features, kernel and bias."""
    real, single = np.asarray(features).dtype, np.dtype("float32")
    features, kernel = dense(features, real), dense(kernel, real)
    labels = dense(labels, np.dtype("int32"))
    bias = None if bias is None else dense(bias, single)
    rows, classes = len(features), len(kernel)
    results = [_empty((rows,), single), _empty((rows,), single)]
    if wanted:
        results += [_empty(features.shape, real), _empty(kernel.shape, real)]
        results += [] if bias is None else [_empty((classes,), single)]
    addresses = [_address(a) for a in results] + [0] * (5 - len(results))
    _linear.cross_entropy(
        _linear.Problem(real.name, rows, features.shape[1], classes),
        _address(features),
        _address(kernel),
        0 if bias is None else _address(bias),
        _address(labels),
        label_smoothing,
        ignored,
        addresses,
    )
    return results


def top_k(
    features: np.ndarray, kernel: np.ndarray, bias: np.ndarray | None, *, k: int
) -> list[np.ndarray]:
    """Values, indices, logsumexp."""
    real, single = np.asarray(features).dtype, np.dtype("float32")
    features, kernel = dense(features, real), dense(kernel, real)
    bias = None if bias is None else dense(bias, single)
    rows = len(features)
    results = [_empty((rows, k), single), _empty((rows, k), np.dtype("int32"))]
    results += [_empty((rows,), single)]
    _linear.top_k(
        _linear.Problem(real.name, rows, features.shape[1], len(kernel)),
        _address(features),
        _address(kernel),
        0 if bias is None else _address(bias),
        k,
        [_address(a) for a in results],
    )
    return results


def _as_the_core_reads(p: Problem, inputs: Inputs) -> dict[str, np.ndarray]:
    """The inputs that are there; copied only where dtype or layout are others."""
    dtypes = {
        "mask": np.dtype("bool"),
        "hidden_zoneout": np.dtype("bool"),
        "cell_zoneout": np.dtype("bool"),
        "resets": np.dtype("uint8"),
        "cell_state": numpy_dtype(p.state_dtype),
    }
    real = numpy_dtype(p.dtype)
    return {
        name: dense(array, dtypes.get(name, real))
        for name, array in inputs.items()
        if array is not None
    }


def dense(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The array as the core reads it; a copy only where it must be."""
    array = np.ascontiguousarray(array, dtype)
    # A view into bytes read from somewhere may begin at any of them.
    return array if array.flags.aligned else array.copy()


def numpy_dtype(name: str) -> np.dtype:
    """The dtype that the core calls so."""
    if name == "bfloat16":
        import ml_dtypes  # comes with Keras

        name = ml_dtypes.bfloat16
    dtype: np.dtype = np.dtype(name)
    return dtype


def _empty(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    size = math.prod(shape) * dtype.itemsize
    if size > sys.maxsize - _ALIGNMENT:
        raise MemoryError(f"an array of shape {shape} does not fit an address")
    buffer = np.empty(size + _ALIGNMENT, np.uint8)
    return np.ndarray(shape, dtype, buffer, -_address(buffer) % _ALIGNMENT)


def _address(array: np.ndarray) -> int:
    address: int = array.__array_interface__["data"][0]
    return address


def _addresses(arrays: Mapping[str, np.ndarray]) -> dict[str, int | None]:
    return {name: _address(array) for name, array in arrays.items()}
