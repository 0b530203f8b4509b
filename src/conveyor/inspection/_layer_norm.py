"""LN(a) = (a - mean(a)) / sqrt(var(a) + 1e-5) over the last axis, and its way back, in float64."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .._engines._variant import EPSILON

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Normalised:
    """An array after layer normalisation (Ba, Kiros & Hinton 2016), and what it was divided by.

    Attributes:
        values: (..., N), of mean 0 and variance 1 over the last axis.
        mean, deviation: (..., 1), what was taken off, and sqrt(var + 1e-5).
    """

    values: Array
    mean: Array
    deviation: Array

    def back(self, d: Array, at: Any = ...) -> Array:
        """The gradient of what was normalised, from that of the values at an index."""
        n = self.values[at]
        moved = d.mean(-1, keepdims=True) + n * (d * n).mean(-1, keepdims=True)
        back: Array = (d - moved) / self.deviation[at]
        return back


def normalise(a: Array) -> Normalised:
    mean = a.mean(-1, keepdims=True)
    deviation = np.sqrt(a.var(-1, keepdims=True) + EPSILON)
    return Normalised((a - mean) / deviation, mean, deviation)
