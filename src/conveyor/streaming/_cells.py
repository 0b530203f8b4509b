"""LSTMs and GRUs of a stream: tables of states with a row for each session, and the step."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..layers._known_cells import is_gru_cell
from ..layers._variant import PLAIN, variant_of
from ..ops._stream_rows import RowStream
from ._gru_cells import GRURows
from ._values import Array, Rows, Value
from ._variant_cells import VariantRows

Initial = tuple[Array | float, ...]


class _OfSessions:
    """One cell, and the states of all sessions.

    Attributes:
        path: of its layer in the model; a stack has a number behind it.
        state_names: hidden_state, and of an LSTM cell_state: tables with a row for each session.
    """

    path: str
    hidden_state: Array
    state_names: tuple[str, ...] = ("hidden_state", "cell_state")
    step: Any
    _initial: Initial

    @property
    def tables(self) -> tuple[Array, ...]:
        """Those tables."""
        return tuple(getattr(self, name) for name in self.state_names)

    def begin(self, row: int) -> None:
        """What a session begins with: zeros, or what was learned."""
        for table, first in zip(self.tables, self._initial, strict=True):
            table[row] = first

    def hidden(self, rows: Rows) -> Array:
        """Hidden states of these rows, as the layer returns them."""
        return rows.of(self.hidden_state)

    def step_where_it_counts(self, x: Value, rows: Rows) -> None:
        """Make a step for those rows that count."""
        if x.mask is None or x.mask.all():
            self.step(x.array, rows.index)
        elif x.mask.any():
            self.step(x.array[x.mask], rows.chosen(x.mask))


class PlainCell(_OfSessions, RowStream):
    """A plain LSTM."""

    def __init__(
        self, path: str, cell: Any, weights: list[Array | None], engine: str, initial: Initial
    ) -> None:
        self.path, self._initial = path, initial
        kernel, recurrent_kernel, bias = weights
        named = {"kernel": kernel, "recurrent_kernel": recurrent_kernel, "bias": bias}
        super().__init__(named, cell.activation, cell.recurrent_activation, engine)


class VariantCell(_OfSessions, VariantRows):
    """One beyond the plain LSTM."""

    def __init__(self, path: str, cell: Any, engine: str, initial: Initial) -> None:
        self.path, self._initial = path, initial
        super().__init__(cell, path, engine)


class CellOfGRU(_OfSessions, GRURows):
    """A GRU."""

    state_names = ("hidden_state",)

    def __init__(self, path: str, cell: Any, engine: str, initial: Initial) -> None:
        self.path, self._initial = path, initial
        super().__init__(cell, path, engine)

    def hidden(self, rows: Rows) -> Array:
        """In 16 bits where the layer is; the table is not."""
        return super().hidden(rows).astype(self.dtype, copy=False)


Cell = PlainCell | VariantCell | CellOfGRU


def cell_of(
    path: str, cell: Any, weights: list[Array | None], engine: str, initial: Initial
) -> Cell:
    """The one that computes a cell of Keras or of conveyor."""
    if is_gru_cell(cell):
        return CellOfGRU(path, cell, engine, initial)
    if variant_of(cell) is PLAIN:
        return PlainCell(path, cell, weights, engine, initial)
    return VariantCell(path, cell, engine, initial)


class Recurrent:
    """A layer of one cell, or a stack of cells.

    Args:
        cells: from below.
        outputs: what the layer returns, "first" for what Keras's returns first.
        times: which of them have a time axis.
        zero_where_masked: whether "first" is zero at a masked step.
    """

    def __init__(
        self,
        cells: list[Cell],
        outputs: tuple[str, ...],
        times: tuple[bool, ...],
        zero_where_masked: bool,
    ) -> None:
        self.cells = cells
        self._outputs = outputs
        self._times = times
        self._zero = zero_where_masked

    def __call__(self, inputs: list[Value], rows: Rows) -> list[Value]:
        """The states that the layer returns, of this step."""
        (x,) = inputs
        mask = x.mask
        for cell in self.cells:
            cell.step_where_it_counts(x, rows)
            h = cell.hidden(rows)
            x = Value(h, mask)
        if self._outputs == ("first",) and mask is None:
            return [x]
        return self._returned([h, *map(rows.of, cell.tables[1:])], cell, mask)

    def feed(self, inputs: list[Value], rows: Rows) -> list[Value]:
        """Those of several steps: (T, B, ...) where the model has a time axis."""
        (x,) = inputs
        mask = x.mask
        for cell in self.cells:
            every = cell.feed(x.array, mask, rows.index)
            x = Value(every[0], mask)
        values = self._returned(list(every), cell, mask)
        return [
            value if time else Value(value.array[-1], None if mask is None else mask[-1])
            for value, time in zip(values, self._times, strict=True)
        ]

    def _returned(self, states: list[Array], cell: Cell, mask: Array | None) -> list[Value]:
        h, *others = states
        named = {"first": h, "hidden": h}
        if others:  # a GRU has none
            named["cell"] = others[0].astype(cell.dtype, copy=False)
        if self._zero and mask is not None:
            named["first"] = np.where(mask[..., None], h, np.zeros_like(h))
        return [Value(named[name], mask) for name in self._outputs]
