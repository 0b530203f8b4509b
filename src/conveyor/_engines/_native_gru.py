"""The GRU of the native engine: what a request is to its core, and the call on NumPy arrays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from . import _gru_library, glue
from ._gru_library import Problem
from ._gru_options import GRUOptions, options_of
from ._gru_request import GRURequest
from ._native_numpy import _address, _empty, dense, numpy_dtype

Inputs = Mapping[str, np.ndarray | None]  # by the names of GRURequest


def problem(request: GRURequest) -> Problem:
    """What the core is told of a request whose shapes are known."""
    r = request
    return problem_of(glue.dtype_name(r.x), r.arrays(), options_of(r))


def problem_of(
    dtype: str, arrays: Mapping[str, Any], options: GRUOptions, threads: int = 0
) -> Problem:
    """The same from arrays by name."""
    batch, time_steps, features = map(int, arrays["x"].shape)
    return Problem(
        dtype=dtype,
        batch=batch,
        time_steps=time_steps,
        features=features,
        units=int(arrays["recurrent_kernel"].shape[0]),
        options=options,
        dropout_masks=_masks(arrays["dropout_mask"]),
        recurrent_dropout_masks=_masks(arrays["recurrent_dropout_mask"]),
        threads=threads,
    )


def _masks(mask: Any) -> int:
    return 0 if mask is None else 1 if len(mask.shape) == 2 else 3


def beyond(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """What arrays say of a problem besides its axes and masks: nothing, for a GRU."""
    return {}


def forward(
    problem: Problem, inputs: Inputs, names: Iterable[str], *, reserve: bool = False
) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
    """The named states, and what the backward pass needs where `reserve` says so."""
    p = problem
    dtype = numpy_dtype(p.dtype)
    states = {name: _empty(p.state_shape(name), dtype) for name in names}
    kept = _empty((_gru_library.reserve_bytes(p),), np.dtype("uint8")) if reserve else None
    arrays = _as_the_core_reads(p, inputs)
    _gru_library.forward(
        p, _addresses(arrays), _addresses(states), 0 if kept is None else _address(kept)
    )
    return states, kept


def backward(
    problem: Problem,
    inputs: Inputs,
    hidden_states: np.ndarray,
    reserve: np.ndarray,
    d_states: Mapping[str, np.ndarray],
    names: Iterable[str],
) -> dict[str, np.ndarray]:
    """The gradients of the named inputs, from those of the states; an absent one is zeros."""
    p = problem
    real = numpy_dtype(p.dtype)
    arrays = _as_the_core_reads(p, inputs)
    hidden_states, reserve = dense(hidden_states, real), dense(reserve, np.dtype("uint8"))
    arriving = {name: dense(d, real) for name, d in d_states.items()}
    d_inputs = {name: _empty(arrays[name].shape, real) for name in names}
    _gru_library.backward(
        p,
        _addresses(arrays),
        _address(hidden_states),
        _address(reserve),
        _addresses(arriving),
        _addresses(d_inputs),
    )
    return d_inputs


def _as_the_core_reads(p: Problem, inputs: Inputs) -> dict[str, np.ndarray]:
    dtypes = {"mask": np.dtype("bool"), "resets": np.dtype("uint8")}
    real = numpy_dtype(p.dtype)
    return {
        name: dense(array, dtypes.get(name, real))
        for name, array in inputs.items()
        if array is not None
    }


def _addresses(arrays: Mapping[str, np.ndarray]) -> dict[str, int]:
    return {name: _address(array) for name, array in arrays.items()}
