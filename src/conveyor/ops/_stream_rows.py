"""An LSTM with the states of many sequences, of which some make a step at a time."""

from __future__ import annotations

from collections.abc import Callable
from ctypes import c_int64, c_void_p
from typing import Any

import numpy as np

from .._engines import _library, _native_numpy
from ._stream import Weights, decide, new_stream, problem_of
from ._stream_in_numpy import numpy_step

# From `start` on side by side, or as an array of row numbers.
Rows = int | np.ndarray
_Run = Callable[..., int]


class RowStream:
    """Tables of states with a row for each sequence, and the step.

    A step allocates next to nothing: addresses are computed from those of the tables, and rows
    that do not lie side by side are gathered in a place of their own.

    Args:
        weights: kernel, recurrent_kernel and bias (None for none), see `LSTMStream`.
        activation, recurrent_activation, engine: see `LSTMStream`.

    Attributes:
        hidden_state, cell_state: (rows, U); the cell state in float32 beside bfloat16 weights.
    """

    def __init__(
        self, weights: Weights, activation: Any, recurrent_activation: Any, engine: str
    ) -> None:
        self.engine = decide(engine)
        self._activations = activation, recurrent_activation
        problem = problem_of(weights, 1, *self._activations)
        self.dtype = _native_numpy.numpy_dtype(problem.dtype)
        self._state_dtype = _native_numpy.numpy_dtype(problem.state_dtype)
        self._weights = {
            n: None if a is None else _native_numpy.dense(a, self.dtype) for n, a in weights.items()
        }
        self.features, self.units = problem.features, problem.units
        self.hidden_state, self.cell_state = self._tables(0)
        self.make_room(1)
        self._prepare(problem)

    def make_room(self, rows: int) -> None:
        """Have so many rows; new ones are zeros."""
        old = self.hidden_state, self.cell_state
        self.hidden_state, self.cell_state = self._tables(rows)
        self.hidden_state[: len(old[0])], self.cell_state[: len(old[1])] = old
        self._at = _address(self.hidden_state), _address(self.cell_state)
        self._wide = self.hidden_state.strides[0], self.cell_state.strides[0]

    def _tables(self, rows: int) -> tuple[np.ndarray, np.ndarray]:
        shape = rows, self.units
        return np.zeros(shape, self.dtype), np.zeros(shape, self._state_dtype)

    def _prepare(self, problem: _library.Problem) -> None:
        """For steps of up to `problem.batch` rows."""
        self._problem = problem
        self._input = np.zeros((problem.batch, self.features), self.dtype)
        self._input_at = c_void_p(_address(self._input))
        self._gathered = self._tables(problem.batch)
        self._gathered_at = tuple(map(_address, self._gathered))
        self._run: _Run
        if self.engine.engine == "native":
            self._owner = _Owner()  # the one before goes, and its stream with it
            self._stream = c_void_p(new_stream(self._owner, problem, self._weights))
            self._run = _library.stream_step()
        else:
            self._run = numpy_step(problem, self._weights)

    def step(self, x: np.ndarray, rows: Rows) -> None:
        """Read one step of some rows; both states are overwritten.

        Args:
            x: (B, F).
            rows: whose: a number, from which on they lie side by side, or their numbers.
        """
        self._make_ready(len(x))
        n = len(x)
        self._input[:n] = x
        if isinstance(rows, int):
            self._overwrite(self._input_at, n, rows)
        else:
            self._gather(rows)
            self._overwrite(self._input_at, n, None)
            self._scatter(rows)

    def feed(self, x: np.ndarray, mask: np.ndarray | None, rows: Rows) -> tuple[np.ndarray, ...]:
        """Read several steps of some rows.

        Args:
            x: (T, B, F).
            mask: (T, B), False where a row is to keep its states; None for no such.
            rows: see `step`.

        Returns:
            hidden_states, cell_states, (T, B, U) each.
        """
        steps, n = x.shape[:2]
        self._make_ready(n)
        start = rows if isinstance(rows, int) else None
        if not isinstance(rows, int):
            self._gather(rows)
        after = self._views(start, n)
        every = tuple(np.empty((steps, *state.shape), state.dtype) for state in after)
        for t in range(steps):
            counts = None if mask is None or mask[t].all() else mask[t]
            if counts is None:
                self._input[:n] = x[t]
                self._overwrite(self._input_at, n, start)
            elif counts.any():
                before = [state.copy() for state in after]
                self._input[:n] = x[t]
                self._overwrite(self._input_at, n, start)
                for state, old in zip(after, before, strict=True):
                    np.copyto(state, old, where=~counts[:, None])
            every[0][t], every[1][t] = after
        if not isinstance(rows, int):
            self._scatter(rows)
        return every

    def _make_ready(self, n: int) -> None:
        if n > self._problem.batch:
            room = max(n, 2 * self._problem.batch)
            self._prepare(problem_of(self._weights, room, *self._activations))

    def _views(self, start: int | None, n: int) -> tuple[np.ndarray, np.ndarray]:
        """The states from a row of the tables on, or those that were gathered."""
        if start is None:
            h, c = self._gathered
            return h[:n], c[:n]
        return self.hidden_state[start : start + n], self.cell_state[start : start + n]

    def _gather(self, rows: np.ndarray) -> None:
        for table, place in zip((self.hidden_state, self.cell_state), self._gathered, strict=True):
            np.take(table, rows, axis=0, out=place[: len(rows)], mode="clip")  # without a buffer

    def _scatter(self, rows: np.ndarray) -> None:
        for table, place in zip((self.hidden_state, self.cell_state), self._gathered, strict=True):
            table[rows] = place[: len(rows)]

    def _overwrite(self, x: c_void_p, n: int, start: int | None) -> None:
        """The step of n rows of `_input`."""
        if self.engine.engine != "native":
            self._run(self._input[:n], *self._views(start, n))
            return
        h, c = self._gathered_at
        if start is not None:
            h = self._at[0] + start * self._wide[0]
            c = self._at[1] + start * self._wide[1]
        status = self._run(self._stream, c_int64(n), x, c_void_p(h), c_void_p(c))
        if status:
            _library.refuse(status, self._problem)


class _Owner:
    """Lives as long as a stream of the core's."""


def _address(array: np.ndarray) -> int:
    return int(array.__array_interface__["data"][0])
