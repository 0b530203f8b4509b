"""An LSTM or a GRU with the states of many sequences, of which some make a step at a time."""

from __future__ import annotations

from collections.abc import Callable
from ctypes import c_int64, c_void_p
from typing import Any, Protocol

import numpy as np

from .._engines import _library, _stream_library, choose_stream
from ._stream_lstm import Feed, Sizes, Step

# From `start` on side by side, or as an array of row numbers.
Rows = int | np.ndarray


class Streamed(Protocol):
    """What is computed: `StreamedLSTM`, `StreamedGRU`."""

    dtype: np.dtype
    features: int
    states: Sizes

    def why_not_native(self) -> str | None:
        """Why its steps are not made by the native engine."""

    def native(self, batch: int) -> int:
        """A stream of the core's for up to so many rows."""

    def portable(self) -> tuple[Step, Feed | None]:
        """A step, and several at once where that is better than one after the other."""


class RowStream:
    """Tables of states with a row for each sequence, and the step.

    A step of the native engine allocates next to nothing: it reads and writes the tables where they
    are, and rows that do not lie side by side in a place of their own, where they are gathered.

    Args:
        streamed: what is computed.
        engine: "auto", "native" or "portable".
        where: to put before an error.

    Attributes:
        tables: hidden states (rows, H), and of an LSTM cell states (rows, U).
        dtype: of x; of tables too, but in 16 bits for what is added up over time.
    """

    def __init__(self, streamed: Streamed, engine: str, where: str) -> None:
        self.engine = choose_stream(streamed.why_not_native, engine, where)
        self._native = self.engine.engine == "native"
        self._streamed, self.dtype = streamed, streamed.dtype
        self._step: Callable[..., int]
        self._feed: Feed | None = None
        self._called_for: tuple[int, int | None] | None = None  # rows, of the arguments below
        self._arguments: tuple[Any, ...] = ()
        if self._native:
            self._step = _stream_library.step()
        else:
            self._step, self._feed = streamed.portable()
        self.tables = self._tables(0)
        self.make_room(1)
        self._prepare(1)

    def make_room(self, rows: int) -> None:
        """Have so many rows; new ones are zeros."""
        old, self.tables = self.tables, self._tables(rows)
        for table, before in zip(self.tables, old, strict=True):
            table[: len(before)] = before
        self._called_for = None

    def _tables(self, rows: int) -> tuple[np.ndarray, ...]:
        return tuple(np.zeros((rows, size), dtype) for size, dtype in self._streamed.states)

    def _prepare(self, batch: int) -> None:
        """For steps of up to so many rows."""
        self._batch = batch
        self._input = np.zeros((batch, self._streamed.features), self.dtype)
        self._input_at = c_void_p(_stream_library.address(self._input))
        self._gathered = self._tables(batch)
        self._called_for = None
        if self._native:
            self._owner = _Owner()  # the one before goes, and its stream with it
            self._stream = _stream_library.free_with(self._owner, self._streamed.native(batch))

    def step(self, x: np.ndarray, rows: Rows) -> None:
        """Read one step of some rows; their states are overwritten.

        Args:
            x: (B, F).
            rows: whose: a number, from which on they lie side by side, or their numbers.
        """
        n = len(x)
        self._make_ready(n)
        self._input[:n] = x
        if isinstance(rows, int):
            self._overwrite(n, rows)
        else:
            self._gather(rows)
            self._overwrite(n, None)
            self._scatter(rows)

    def feed(self, x: np.ndarray, mask: np.ndarray | None, rows: Rows) -> tuple[np.ndarray, ...]:
        """Read several steps of some rows.

        Args:
            x: (T, B, F).
            mask: (T, B), False where a row is to keep its states; None for no such.
            rows: see `step`.

        Returns:
            hidden_states (T, B, H), and of an LSTM cell_states (T, B, U).
        """
        self._make_ready(x.shape[1])
        start = rows if isinstance(rows, int) else None
        if not isinstance(rows, int):
            self._gather(rows)
        if self._feed is not None:
            every = self._feed(x, mask, *self._views(start, x.shape[1]))
        else:
            every = self._one_by_one(x, mask, start)
        if not isinstance(rows, int):
            self._scatter(rows)
        return every

    def _one_by_one(
        self, x: np.ndarray, mask: np.ndarray | None, start: int | None
    ) -> tuple[np.ndarray, ...]:
        steps, n = x.shape[:2]
        after = self._views(start, n)
        every = tuple(np.empty((steps, *state.shape), state.dtype) for state in after)
        kept_of = list(zip(every, after, strict=True))
        for t in range(steps):
            counts = None if mask is None or mask[t].all() else mask[t]
            if counts is None:
                self._input[:n] = x[t]
                self._overwrite(n, start)
            elif counts.any():
                before = [state.copy() for state in after]
                self._input[:n] = x[t]
                self._overwrite(n, start)
                for state, old in zip(after, before, strict=True):
                    np.copyto(state, old, where=~counts[:, None])
            for kept, state in kept_of:
                kept[t] = state
        return every

    def _make_ready(self, n: int) -> None:
        if n > self._batch:
            self._prepare(max(n, 2 * self._batch))

    def _views(self, start: int | None, n: int) -> tuple[np.ndarray, ...]:
        """The states from a row of the tables on, or those that were gathered."""
        if start is None:
            return tuple(place[:n] for place in self._gathered)
        return tuple(table[start : start + n] for table in self.tables)

    def _gather(self, rows: np.ndarray) -> None:
        for table, place in zip(self.tables, self._gathered, strict=True):
            np.take(table, rows, axis=0, out=place[: len(rows)], mode="clip")  # without a buffer

    def _scatter(self, rows: np.ndarray) -> None:
        for table, place in zip(self.tables, self._gathered, strict=True):
            table[rows] = place[: len(rows)]

    def _overwrite(self, n: int, start: int | None) -> None:
        """The step of n rows of `_input`."""
        if not self._native:
            self._step(self._input[:n], *self._views(start, n))
            return
        # Mostly the same rows as at the step before.
        if self._called_for != (n, start):
            self._arguments = self._native_arguments(n, start)
            self._called_for = n, start
        if self._step(*self._arguments):
            raise _library.refusal()

    def _native_arguments(self, n: int, start: int | None) -> tuple[Any, ...]:
        tables = self._gathered if start is None else self.tables
        places = [_stream_library.address(t) + (start or 0) * t.strides[0] for t in tables]
        states = [*map(c_void_p, places), None]  # of a GRU there is no cell state
        return self._stream, c_int64(n), self._input_at, *states[:2]


class _Owner:
    """Lives as long as a stream of the core's."""
