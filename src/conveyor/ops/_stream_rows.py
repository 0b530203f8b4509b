"""The step of an LSTM on rows that lie elsewhere: many sessions, some of which make a step."""

from __future__ import annotations

from ctypes import c_int64, c_void_p
from typing import Any

import numpy as np

from .._engines import _library, _native_numpy
from ._stream import Weights, decide, new_stream, problem_of
from ._stream_in_numpy import numpy_step


class RowStream:
    """`step(x, hidden_state, cell_state)` on arrays of the caller's, of any number of rows.

    Args:
        weights: kernel, recurrent_kernel and bias (None for none), see `LSTMStream`.
        activation, recurrent_activation, engine: see `LSTMStream`.
    """

    def __init__(
        self, weights: Weights, activation: Any, recurrent_activation: Any, engine: str
    ) -> None:
        self.engine = decide(engine)
        self._activations = activation, recurrent_activation
        problem = problem_of(weights, 1, *self._activations)
        self.dtype = _native_numpy.numpy_dtype(problem.dtype)
        self._weights = {
            n: None if a is None else _native_numpy.dense(a, self.dtype) for n, a in weights.items()
        }
        self.units = problem.units
        self._room = 0
        self._make(problem)

    def _make(self, problem: _library.Problem) -> None:
        self._problem, self._room = problem, problem.batch
        if self.engine.engine == "native":
            self._stream = c_void_p(new_stream(self, problem, self._weights))
            self._native = _library.stream_step()
        else:
            self._portable = numpy_step(problem, self._weights)

    def step(self, x: np.ndarray, hidden_state: np.ndarray, cell_state: np.ndarray) -> None:
        """Read one step of every row; both states are overwritten.

        Args:
            x: (B, F), states (B, U), C-contiguous in `dtype`.
        """
        if len(x) > self._room:
            room = max(len(x), 2 * self._room)
            self._make(problem_of(self._weights, room, *self._activations))
        if self.engine.engine != "native":
            self._portable(x, hidden_state, cell_state)
            return
        status = self._native(
            self._stream,
            c_int64(len(x)),
            *(c_void_p(a.__array_interface__["data"][0]) for a in (x, hidden_state, cell_state)),
        )
        if status:
            _library.refuse(status, self._problem)
