"""Streams of the native core through ctypes: weights that are packed once, one step at a time."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Callable, Mapping
from ctypes import POINTER, byref, c_char_p, c_int, c_void_p
from typing import Any

import numpy as np

from . import _gru_library, _layout, _library

Addresses = Mapping[str, int]


def missing() -> str | None:
    """Why a native core that is there has no streams but those of the plain LSTM."""
    if hasattr(_library._core(), "conveyor_gru_stream_new"):
        return None
    return "a stream beyond the plain LSTM: it was built before it had one; install conveyor again"


def new_lstm(problem: _library.Problem, weights: Addresses) -> int:
    """A stream of up to `problem.batch` rows on copies of the weights; free it once.

    Raises:
        MemoryError: no memory for the weights.
    """
    addresses = [weights.get(name) or 0 for name in _library.INPUTS]
    return _new("conveyor_stream_new", _layout.pack_lstm(problem, addresses, 0), problem)


def new_gru(problem: _gru_library.Problem, weights: Addresses) -> int:
    """The same of a GRU."""
    addresses = [weights.get(name) or 0 for name in _gru_library.INPUTS]
    return _new("conveyor_gru_stream_new", _gru_library.pack_gru(problem, addresses, 0), problem)


def _new(name: str, packed: bytes, problem: _library.Problem | _gru_library.Problem) -> int:
    new = getattr(_library._core(), name)
    new.argtypes, new.restype = [c_char_p, POINTER(c_int)], c_void_p
    status = c_int()
    stream = new(packed, byref(status))
    if stream is not None:
        return int(stream)
    if status.value == _layout.OUT_OF_MEMORY:
        raise MemoryError(f"no memory for a stream of {problem.batch} rows, {problem.units} units")
    raise _library.refusal()


def step() -> Callable[..., int]:
    """`conveyor_stream_step`, for arguments that are of the types of C already."""
    return _library._core().conveyor_stream_step


def free(stream: int) -> None:
    """Give back what a stream holds."""
    release = _library._core().conveyor_stream_free
    release.argtypes, release.restype = [c_void_p], None
    release(stream)


def free_with(owner: Any, stream: int) -> ctypes.c_void_p:
    """The stream as an argument of `step`; it goes when its owner does."""
    weakref.finalize(owner, free, stream)
    return c_void_p(stream)


def address(array: np.ndarray) -> int:
    """Where an array begins."""
    return int(array.__array_interface__["data"][0])
