"""The native engine on NumPy arrays: what the glue of NumPy and of TensorFlow call."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from .._vocabulary import StateName, has_time_axis
from . import _library
from ._library import Problem

Inputs = Mapping[str, np.ndarray | None]  # by the names of LSTMRequest

# Vectors are read fastest, and TensorFlow takes arrays without a copy, at this alignment.
_ALIGNMENT = 64


def forward(
    problem: Problem, inputs: Inputs, names: Iterable[StateName], *, reserve: bool = False
) -> tuple[dict[StateName, np.ndarray], np.ndarray | None]:
    """The named states, and what the backward pass needs where `reserve` says so.

    `hidden_states` must be among the names then.
    """
    p = problem
    arrays = _contiguous(p, inputs)
    dtype = _numpy_dtype(p.dtype)
    shapes = {True: (p.batch, p.time_steps, p.units), False: (p.batch, p.units)}
    states = {name: _empty(shapes[has_time_axis(name)], dtype) for name in names}
    kept = _empty((_library.reserve_bytes(p),), np.dtype("uint8")) if reserve else None
    _library.forward(
        p,
        _addresses(arrays),
        {name: _address(state) for name, state in states.items()},
        None if kept is None else _address(kept),
    )
    return states, kept


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
    arrays = _contiguous(p, inputs)
    hidden_states = np.ascontiguousarray(hidden_states)
    arriving = {name: np.ascontiguousarray(d) for name, d in d_states.items()}
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


def _contiguous(p: Problem, inputs: Inputs) -> dict[str, np.ndarray]:
    """The inputs that are there, in the dtypes and the layout that the core reads."""
    dtypes = {"mask": np.dtype("bool"), "cell_state": _numpy_dtype(p.state_dtype)}
    real = _numpy_dtype(p.dtype)
    return {
        name: np.ascontiguousarray(array, dtypes.get(name, real))
        for name, array in inputs.items()
        if array is not None
    }


def _numpy_dtype(name: str) -> np.dtype:
    if name == "bfloat16":
        import ml_dtypes  # comes with Keras

        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(name)


def _empty(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    size = int(np.prod(shape, dtype=object)) * dtype.itemsize
    buffer = np.empty(size + _ALIGNMENT, np.uint8)
    start = -_address(buffer) % _ALIGNMENT
    return buffer[start : start + size].view(dtype).reshape(shape)


def _address(array: np.ndarray) -> int:
    address: int = array.__array_interface__["data"][0]
    return address


def _addresses(arrays: Mapping[str, np.ndarray]) -> dict[str, int | None]:
    return {name: _address(array) for name, array in arrays.items()}
