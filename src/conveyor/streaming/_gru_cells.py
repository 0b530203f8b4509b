"""A GRU in a stream: a table of hidden states, and steps in NumPy."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from .._engines import Decision
from .._errors import lesson
from ..ops._gru_in_numpy import GRUSteps
from ..ops._stream_rows import Rows

Array = np.ndarray


class GRURows:
    """What `ops._stream_rows.RowStream` is for the plain LSTM.

    Args:
        cell: a built `GRUCell` of Keras or of conveyor.
        path: of its layer.
        engine: that was asked for.

    Attributes:
        hidden_state: (rows, U), in float32 where the layer computes in 16 bits.
    """

    def __init__(self, cell: Any, path: str, engine: str) -> None:
        if engine == "native":
            raise lesson(
                f'conveyor.Stream, GRU "{path}"',
                "LSTMs for a stream of the native engine",
                "a GRU, whose steps are computed in NumPy",
                'Write Stream(model, engine="auto").',
            )
        to_numpy = keras.ops.convert_to_numpy
        self._steps = GRUSteps(
            to_numpy(cell.kernel),
            to_numpy(cell.recurrent_kernel),
            None if cell.bias is None else to_numpy(cell.bias),
            activation=cell.activation,
            recurrent_activation=cell.recurrent_activation,
            reset_after=bool(cell.reset_after),
        )
        self.dtype = self._steps.dtype
        self.engine = Decision("portable", {"native": "GRU: its stream is computed in NumPy"})
        self.hidden_state = self._table(1)

    def _table(self, rows: int) -> Array:
        return np.zeros((rows, self._steps.units), self._steps.exact)

    def make_room(self, rows: int) -> None:
        """Have so many rows; new ones are zeros."""
        old, self.hidden_state = self.hidden_state, self._table(rows)
        self.hidden_state[: len(old)] = old

    def step(self, x: Array, rows: Rows) -> None:
        """Read one step of some rows, (B, F); their states are overwritten."""
        places = slice(rows, rows + len(x)) if isinstance(rows, int) else rows
        before = self.hidden_state[places]
        self.hidden_state[places] = self._steps(self._steps.project(x), before)

    def feed(self, x: Array, mask: Array | None, rows: Rows) -> tuple[Array, ...]:
        """Read several steps, (T, B, F), of some rows; the states after each, (T, B, U)."""
        places = slice(rows, rows + x.shape[1]) if isinstance(rows, int) else rows
        projected, h = self._steps.project(x), self.hidden_state[places]
        every = np.empty((*x.shape[:2], self._steps.units), self._steps.exact)
        for t in range(len(x)):
            after = self._steps(projected[t], h)
            h = after if mask is None else np.where(mask[t][:, None], after, h)
            every[t] = h
        self.hidden_state[places] = h
        return (every.astype(self.dtype, copy=False),)
