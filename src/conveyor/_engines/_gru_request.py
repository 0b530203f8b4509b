"""What `ops.gru` asks of an engine: one value with named fields."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from .._vocabulary import GRUStateName
from ._request import Activation, Array

GRUStates = dict[GRUStateName, Array]


@dataclass(frozen=True)
class GRURequest:
    """One GRU over one batch of sequences. All arrays are checked and of one dtype.

    `dropout_mask` and `recurrent_dropout_mask` hold the factors themselves (0, or
    1 / (1 - rate)) and are shared over time. With a leading axis of 3 each gate has
    its own, in the order update, reset, candidate.
    """

    x: Array  # (B, T, F)
    kernel: Array  # (F, 3U)
    recurrent_kernel: Array  # (U, 3U)
    bias: Array | None  # (3U,); with reset_after (2, 3U), of the input and of the hidden state
    hidden_state: Array | None  # (B, U) before the first step; None is zeros
    mask: Array | None  # (B, T) bool, True where the step counts
    dropout_mask: Array | None  # (B, F) or (3, B, F)
    recurrent_dropout_mask: Array | None  # (B, U) or (3, B, U)
    resets: Array | None  # (B, T) uint8: before a step, 1 zeros, 2 hidden_state
    activation: Activation
    recurrent_activation: Activation
    reset_after: bool  # the reset gate acts on h' R + b, and not on h'
    go_backwards: bool  # read the last step first; time axes come in that order
    unroll: bool  # write the loop out, for short sequences of known length
    outputs: tuple[GRUStateName, ...]  # compute and keep nothing else

    def arrays(self) -> dict[str, Any]:
        """The fields that hold arrays; the others are options, and hashable."""
        return {name: getattr(self, name) for name in _ARRAYS}


_ARRAYS = tuple(f.name for f in fields(GRURequest) if f.type in ("Array", "Array | None"))
