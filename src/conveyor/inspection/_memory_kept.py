"""What the cells of a recurrent layer hold from the forward pass for their gradients, in bytes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from .. import _engines
from ..layers import GRU, LSTM
from ..layers._keras_layers import runs_here
from ..layers._known_cells import cells_of, is_gru_cell, why_unknown
from ..layers._patch import is_patched
from ..layers._variant import PLAIN, variant_of


def kept_by(layer: Any, batch: int, time_steps: int) -> Iterator[tuple[int, bool]]:
    """Of each LSTM or GRU cell of a layer: the bytes, and whether that is exact."""
    for cell in cells_of(layer):
        if is_gru_cell(cell):
            yield _kept_by_gru(layer, cell, batch * time_steps)
        elif isinstance(cell, keras.layers.LSTMCell):
            yield _kept_by_lstm(layer, cell, batch, time_steps)


def _kept_by_lstm(layer: Any, cell: Any, batch: int, time_steps: int) -> tuple[int, bool]:
    dtype, units = str(cell.compute_dtype), int(cell.units)
    real, features = bytes_of((1,), dtype), int(cell.kernel.shape[0])
    decision = _engines.expect(_engine(layer), cell.activation, cell.recurrent_activation)
    native = _is_here(layer) and decision.engine == "native" and variant_of(cell) is PLAIN
    # The native engine: gates, cell state and hidden state, units padded to a vector. A loop of the
    # framework keeps preactivations besides.
    wide = 4 if real == 2 else real
    padded = -(-units // 16) * 16
    step = batch * (padded * (4 * real + wide) + units * real if native else 10 * units * real)
    remat = getattr(layer, "remat", None)
    if remat is None:
        return time_steps * step, native
    k = min(int(remat), time_steps)
    segments = -(-time_steps // k)
    states = sum(map(int, cell.state_size))
    between = segments * batch * states * real + time_steps * batch * features * real
    return k * step + between, native


def _kept_by_gru(layer: Any, cell: Any, steps: int) -> tuple[int, bool]:
    """The same: three gates, what the reset gate acts on, and the hidden state."""
    units, real = int(cell.units), bytes_of((1,), str(cell.compute_dtype))
    decision = _engines.expect_gru(_engine(layer), cell.activation, cell.recurrent_activation)
    native = _is_here(layer) and decision.engine == "native"
    padded = -(-units // 16) * 16
    return steps * real * (4 * padded + units if native else 8 * units), native


def _engine(layer: Any) -> str:
    return str(layer.engine) if isinstance(layer, LSTM | GRU) else "auto"


def _is_here(layer: Any) -> bool:
    """Whether its loop is conveyor's."""
    if isinstance(layer, LSTM | GRU) or runs_here(layer):
        return True
    return is_patched() and why_unknown(layer) is None


def bytes_of(shape: Any, dtype: Any) -> int:
    """Of an array."""
    size = 2 if str(dtype) == "bfloat16" else np.dtype(str(dtype)).itemsize
    return int(np.prod(shape, dtype=np.int64)) * size
