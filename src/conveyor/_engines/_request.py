"""What `ops.lstm` asks of an engine: one value with named fields."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from .._vocabulary import StateName
from ._variant import PLAIN, Variant

# An array of whichever framework Keras runs on; engines never look inside.
Array = Any
Activation = Callable[[Array], Array]


@dataclass(frozen=True)
class LSTMRequest:
    """One LSTM over one batch of sequences. All arrays are checked and of one dtype.

    `dropout_mask` and `recurrent_dropout_mask` hold the factors themselves (0, or
    1 / (1 - rate)) and are shared over time. With a leading axis of 4 each gate has
    its own, in the order input, forget, candidate, output.

    The hidden state has H numbers: as many as units, unless there is a projection.
    """

    x: Array  # (B, T, F)
    kernel: Array  # (F, 4U)
    recurrent_kernel: Array  # (H, 4U)
    bias: Array | None  # (4U,)
    hidden_state: Array | None  # (B, H) before the first step; None is zeros
    cell_state: Array | None  # (B, U) before the first step; None is zeros
    mask: Array | None  # (B, T) bool, True where the step counts
    dropout_mask: Array | None  # (B, F) or (4, B, F)
    recurrent_dropout_mask: Array | None  # (B, H) or (4, B, H)
    resets: Array | None  # (B, T) uint8: before a step, 1 zeros, 2 hidden_state and cell_state
    activation: Activation
    recurrent_activation: Activation
    go_backwards: bool  # read the last step first; time axes come in that order
    unroll: bool  # write the loop out, for short sequences of known length
    outputs: tuple[StateName, ...]  # compute and keep nothing else
    remat: int = 0  # for the gradient keep the states of every so many-th step alone; 0 keeps all
    peephole: Array | None = None  # (3U,): c' into input and forget gate, c into output gate
    output_kernel: Array | None = None  # (U, U): what h is made of is c W5 + b5 and not c
    output_bias: Array | None = None  # (U,)
    projection_kernel: Array | None = None  # (U, H)
    gate_scale: Array | None = None  # layer normalisation: (4U,) of each gate, (2, 4U) of xW and hR
    cell_scale: Array | None = None  # (U,), of the cell state on its way out
    cell_shift: Array | None = None  # (U,)
    hidden_zoneout: Array | None = None  # (B, T, H) bool, True where a unit keeps its old state
    cell_zoneout: Array | None = None  # (B, T, U) bool
    output_activation: Activation | None = None  # of the cell state; None is `activation`
    variant: Variant = PLAIN

    @property
    def units(self) -> int:
        """U."""
        return int(self.recurrent_kernel.shape[1]) // 4

    @property
    def hidden_size(self) -> int:
        """H."""
        return int(self.recurrent_kernel.shape[0])

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
