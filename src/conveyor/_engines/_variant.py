"""What a request may add to the plain LSTM, besides arrays."""

from __future__ import annotations

from dataclasses import dataclass

# Of the variance in a layer normalisation; also what PyTorch's has.
EPSILON = 1e-5


@dataclass(frozen=True)
class Variant:
    """Numbers and switches; each is neutral by default.

    Attributes:
        coupled: i = 1 - f, and nothing reads the weights of the input gate.
        clip: the inputs of the gates stay within [-clip, clip]; 0 for no bound.
        cell_clip: likewise the cell state.
        hidden_zoneout: the part of h' that h keeps, where no array says which units keep theirs.
        cell_zoneout: likewise of the cell state.
    """

    coupled: bool = False
    clip: float = 0.0
    cell_clip: float = 0.0
    hidden_zoneout: float = 0.0
    cell_zoneout: float = 0.0


PLAIN = Variant()
