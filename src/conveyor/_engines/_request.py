"""What `ops.lstm` asks of an engine: one value with named fields."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from .._vocabulary import StateName

# An array of whichever framework Keras runs on; engines never look inside.
Array = Any
Activation = Callable[[Array], Array]


@dataclass(frozen=True)
class LSTMRequest:
    """One LSTM over one batch of sequences. All arrays are checked and of one dtype.

    `dropout_mask` and `recurrent_dropout_mask` hold the factors themselves (0, or
    1 / (1 - rate)) and are shared over time. With a leading axis of 4 each gate has
    its own, in the order input, forget, candidate, output.
    """

    x: Array  # (B, T, F)
    kernel: Array  # (F, 4U)
    recurrent_kernel: Array  # (U, 4U)
    bias: Array | None  # (4U,)
    hidden_state: Array | None  # (B, U) before the first step; None is zeros
    cell_state: Array | None  # (B, U) before the first step; None is zeros
    mask: Array | None  # (B, T) bool, True where the step counts
    dropout_mask: Array | None  # (B, F) or (4, B, F)
    recurrent_dropout_mask: Array | None  # (B, U) or (4, B, U)
    resets: Array | None  # (B, T) uint8: before a step, 1 zeros, 2 hidden_state and cell_state
    activation: Activation
    recurrent_activation: Activation
    go_backwards: bool  # read the last step first; time axes come in that order
    unroll: bool  # write the loop out, for short sequences of known length
    outputs: tuple[StateName, ...]  # compute and keep nothing else
    remat: int = 0  # for the gradient keep the states of every so many-th step alone; 0 keeps all

    def arrays(self) -> dict[str, Any]:
        """The fields that hold arrays; the others are options, and hashable."""
        return {name: getattr(self, name) for name in _ARRAYS}


_ARRAYS = tuple(f.name for f in fields(LSTMRequest) if f.type in ("Array", "Array | None"))


States = dict[StateName, Array]
Run = Callable[[LSTMRequest], States]


@dataclass(frozen=True)
class Decision:
    """Which engine runs a request, and why no faster one does."""

    engine: str
    passed_over: dict[str, str]  # engine -> reason, fastest first

    def __str__(self) -> str:
        reasons = "".join(f"\n  not {name}: {why}" for name, why in self.passed_over.items())
        return f"{self.engine} engine{reasons}"
