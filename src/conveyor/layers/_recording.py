"""Watching every LSTM and GRU of a model while it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from .._engines import Array, Decision
from .._vocabulary import AnyStateName


@dataclass(frozen=True)
class Record:
    """What went into one call of one layer, and all states that came of it."""

    layer: Any
    inputs: Array  # (B, T, F), in the order in which the steps were given
    mask: Array | None  # (B, T), likewise
    hidden_state: Array  # (B, U) before the first step
    cell_state: Array | None  # (B, U) before the first step; a GRU has none
    # All eight, of a GRU all five, in the order in which the steps were read.
    states: dict[AnyStateName, Array]
    decision: Decision  # which engine ran
    resets: Array | None = None  # (B, T), as `ops.lstm` has them
    # The arguments of `ops.lstm` that training draws for a variant, as this call had them.
    drawn: Mapping[str, Any] = field(default_factory=dict)


# What the layer is to return in place of its states: the same, or with something added.
Change = Callable[[Record], dict[AnyStateName, Array]]


class Records(list[Record]):
    """The calls so far, in order."""

    change: Change | None = None

    def add(self, record: Record) -> dict[AnyStateName, Array]:
        """Keep a record; the states to go on with."""
        self.append(record)
        return record.states if self.change is None else self.change(record)


_records: ContextVar[Records | None] = ContextVar("conveyor_records", default=None)
# One for each that is open, in whichever thread: a compiler that traces a layer can read no
# context variable, and where there is none it need not.
_open: list[None] = []


@contextmanager
def recording() -> Iterator[Records]:
    """Collect the states of every `conveyor.LSTM` and `conveyor.GRU` that runs inside.

    Nothing is computed twice: the forward pass that gives the output hands them out. Keras's
    own layers take part where `running_here` holds them. Call the model itself, not `predict`:
    compiled code keeps no record of its insides.

    >>> import numpy as np
    >>> from conveyor import LSTM
    >>> layer = LSTM(4)
    >>> with recording() as records:
    ...     h = layer(np.ones((2, 3, 5), "float32"))
    >>> tuple(records[0].states["cell_states"].shape)
    (2, 3, 4)
    """
    records = Records()
    token = _records.set(records)
    _open.append(None)
    try:
        yield records
    finally:
        _open.pop()
        _records.reset(token)


def records() -> Records | None:
    """Where to put a record now; None if nobody is watching."""
    return _records.get() if _open else None
