"""LSTMs and GRUs of a stream: tables of states with a row for each session, and the step."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from ..layers._known_cells import is_gru_cell
from ..layers._variant import PLAIN, variant_of
from ..ops._stream_gru import StreamedGRU
from ..ops._stream_lstm import StreamedLSTM
from ..ops._stream_rows import RowStream, Streamed
from ..ops._variants import VariantArguments
from ._values import Array, Rows, Value

_to_numpy = keras.ops.convert_to_numpy

Initial = tuple[Array | float, ...]


class Cell(RowStream):
    """One cell, and the states of all sessions: tables with a row for each.

    Args:
        path: of its layer in the model; a stack has a number behind it.
        streamed: what it computes.
        engine: that was asked for.
        initial: what a session begins with, a state for each table.
        where: to put before an error.
    """

    def __init__(
        self, path: str, streamed: Streamed, engine: str, initial: Initial, where: str
    ) -> None:
        self.path, self._initial = path, initial
        super().__init__(streamed, engine, where)
        self._as_tables_are = self.tables[0].dtype == self.dtype

    def begin(self, row: int) -> None:
        """What a session begins with: zeros, or what was learned."""
        for table, first in zip(self.tables, self._initial, strict=True):
            table[row] = first

    def hidden(self, rows: Rows) -> Array:
        """Hidden states of these rows, as the layer returns them."""
        h = rows.of(self.tables[0])
        return h if self._as_tables_are else h.astype(self.dtype)

    def step_where_it_counts(self, x: Value, rows: Rows) -> None:
        """Make a step for those rows that count."""
        if x.mask is None or x.mask.all():
            self.step(x.array, rows.index)
        elif x.mask.any():
            self.step(x.array[x.mask], rows.chosen(x.mask))


def cell_of(path: str, cell: Any, engine: str, initial: Initial) -> Cell:
    """The one that computes a cell of Keras or of conveyor."""
    kind = "GRU" if is_gru_cell(cell) else "LSTM"
    where = f'conveyor.Stream, {kind} "{path}"'
    return Cell(path, _streamed(cell, where), engine, initial, where)


def _streamed(cell: Any, where: str) -> Streamed:
    weights = {
        name: None if (weight := getattr(cell, name)) is None else _to_numpy(weight)
        for name in ("kernel", "recurrent_kernel", "bias")
    }
    activations = cell.activation, cell.recurrent_activation
    if is_gru_cell(cell):
        return StreamedGRU(weights, *activations, bool(cell.reset_after))
    beyond: VariantArguments = {}
    if variant_of(cell) is not PLAIN:
        beyond = cell.variant_for_ops(_to_numpy)
    return StreamedLSTM(weights, *activations, beyond, where)


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
            h, *others = cell.feed(x.array, mask, rows.index)
            x = Value(h.astype(cell.dtype, copy=False), mask)
        values = self._returned([x.array, *others], cell, mask)
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
