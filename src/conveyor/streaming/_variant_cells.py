"""A cell beyond the plain LSTM in a stream: the same tables of states, steps by `ops.lstm`."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from .._engines import Decision
from .._errors import lesson
from ..ops import lstm
from ..ops._stream_rows import Rows

_STATES = ("hidden_state", "cell_state")
_EVERY = ("hidden_states", "cell_states")


class VariantRows:
    """What `ops._stream_rows.RowStream` is for the plain LSTM, on the portable engine.

    Args:
        cell: a built `LSTMCell` of conveyor.
        path: of its layer.
        engine: that was asked for.

    Attributes:
        hidden_state, cell_state: (rows, H) and (rows, U).
    """

    def __init__(self, cell: Any, path: str, engine: str) -> None:
        beyond, where = " and ".join(cell.variant.beyond_plain()), f'conveyor.Stream, LSTM "{path}"'
        if engine == "native":
            raise lesson(
                where,
                "the plain LSTM for a stream of the native engine",
                beyond,
                'Write Stream(model, engine="auto").',
            )
        to_numpy = keras.ops.convert_to_numpy
        self._given = {
            "kernel": to_numpy(cell.kernel),
            "recurrent_kernel": to_numpy(cell.recurrent_kernel),
            "bias": None if cell.bias is None else to_numpy(cell.bias),
            "activation": cell.activation,
            "recurrent_activation": cell.recurrent_activation,
            **cell.variant_for_ops(to_numpy),
        }
        self.dtype = self._given["kernel"].dtype
        if self.dtype not in (np.float32, np.float64):
            raise lesson(
                where,
                "weights in float32 or float64",
                f"dtype {self.dtype} and {beyond}",
                'Make the layer with dtype="float32", or "mixed_bfloat16", and take its weights.',
            )
        self.engine = Decision("portable", {"native": f"{beyond}: its stream is of the plain LSTM"})
        self._sizes = tuple(map(int, cell.state_size))
        self.hidden_state, self.cell_state = self._tables(1)

    def _tables(self, rows: int) -> tuple[np.ndarray, np.ndarray]:
        hidden, cell = (np.zeros((rows, size), self.dtype) for size in self._sizes)
        return hidden, cell

    def make_room(self, rows: int) -> None:
        """Have so many rows; new ones are zeros."""
        old = self.hidden_state, self.cell_state
        self.hidden_state, self.cell_state = self._tables(rows)
        self.hidden_state[: len(old[0])], self.cell_state[: len(old[1])] = old

    def step(self, x: np.ndarray, rows: Rows) -> None:
        """Read one step of some rows, (B, F); both states are overwritten."""
        self._run(x[:, None], None, rows, _STATES)

    def feed(self, x: np.ndarray, mask: np.ndarray | None, rows: Rows) -> tuple[np.ndarray, ...]:
        """Read several steps, (T, B, F), of some rows; the states after each, (T, B, ...)."""
        over_time = None if mask is None else mask.swapaxes(0, 1)
        hs, cs = self._run(x.swapaxes(0, 1), over_time, rows, (*_STATES, *_EVERY))
        return hs.swapaxes(0, 1), cs.swapaxes(0, 1)

    def _run(
        self, x: np.ndarray, mask: np.ndarray | None, rows: Rows, outputs: tuple[str, ...]
    ) -> list[np.ndarray]:
        places = slice(rows, rows + len(x)) if isinstance(rows, int) else rows
        states: list[np.ndarray] = list(
            lstm(
                np.ascontiguousarray(x, self.dtype),
                **self._given,
                hidden_state=self.hidden_state[places],
                cell_state=self.cell_state[places],
                mask=mask,
                outputs=outputs,
                engine="portable",
            )
        )
        self.hidden_state[places], self.cell_state[places] = states[:2]
        return states[2:]
