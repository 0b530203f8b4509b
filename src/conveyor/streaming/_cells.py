"""LSTMs of a stream: a table of states with a row for each session, and the step."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..ops._stream_rows import RowStream
from ._values import Array, Rows, Value


class Cell:
    """One LSTM cell, and the states of all sessions.

    Attributes:
        path: of its layer in the model; a stack has a number behind it.
        hidden_state, cell_state: (rows, U).
    """

    def __init__(
        self,
        path: str,
        cell: Any,
        weights: list[Array | None],
        engine: str,
        initial: tuple[Array | float, Array | float] = (0.0, 0.0),
    ) -> None:
        self.path = path
        self._initial = initial
        kernel, recurrent_kernel, bias = weights
        named = {"kernel": kernel, "recurrent_kernel": recurrent_kernel, "bias": bias}
        self._stream = RowStream(named, cell.activation, cell.recurrent_activation, engine)
        self.engine = self._stream.engine
        self.dtype = self._stream.dtype
        self.hidden_state, self.cell_state = (
            np.zeros((1, self._stream.units), self.dtype) for _ in range(2)
        )

    def make_room(self, rows: int) -> None:
        """Have so many rows; new ones are zeros."""
        for name in ("hidden_state", "cell_state"):
            old = getattr(self, name)
            new = np.zeros((rows, old.shape[1]), self.dtype)
            new[: len(old)] = old
            setattr(self, name, new)

    def begin(self, row: int) -> None:
        """What a session begins with: zeros, or what was learned."""
        self.hidden_state[row], self.cell_state[row] = self._initial

    def step(self, x: Value, rows: Rows) -> None:
        """Make a step for those rows that count."""
        array = np.ascontiguousarray(x.array, self.dtype)
        which: slice | Array = rows.index
        if x.mask is not None and not x.mask.all():
            which, array = rows.chosen(x.mask), array[x.mask]
            if not len(array):
                return
        h, c = self.hidden_state[which], self.cell_state[which]
        # A slice gives views, which the step overwrites; an index gives copies.
        self._stream.step(array, h, c)
        if not isinstance(which, slice):
            self.hidden_state[which], self.cell_state[which] = h, c


class Recurrent:
    """An LSTM layer, or a stack of cells."""

    def __init__(
        self, cells: list[Cell], outputs: tuple[str, ...], zero_where_masked: bool
    ) -> None:
        self.cells = cells
        self._outputs = outputs
        self._zero = zero_where_masked

    def __call__(self, inputs: list[Value], rows: Rows) -> list[Value]:
        """The states that the layer returns, of this step."""
        (x,) = inputs
        mask = x.mask
        for cell in self.cells:
            cell.step(x, rows)
            x = Value(cell.hidden_state[rows.index], mask)
        h = x.array
        if self._zero and mask is not None:
            h = np.where(mask[:, None], h, np.zeros_like(h))
        last = self.cells[-1]
        named = {"first": h, "hidden": last.hidden_state, "cell": last.cell_state}
        values = []
        for name in self._outputs:
            array = named[name]
            values.append(Value(array if name == "first" else array[rows.index], mask))
        return values
