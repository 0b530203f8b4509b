"""What the course of a gradient through time means, in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

GONE = 1e-3  # of a gradient, after which nothing is learned of what lies further back
GROWN = 1e2

_KEEP = (
    "open the forget gates: unit_forget_bias=True, or a forget gate bias of log(T) for memories of "
    "T steps (Tallec & Ollivier 2018)"
)
_KEEP_IN_GRU = (
    "let the update gates keep: a bias of log(T) in them for memories of T steps (Tallec & "
    "Ollivier 2018), by set_gate_weights"
)


@dataclass(frozen=True)
class Verdict:
    """A verdict, the figures behind it, and what to try.

    Attributes:
        memory_length: the steps back at which 1/e of the gradient is left; inf where more is.
        words: the verdict.
        advice: empty where nothing is wrong.
    """

    memory_length: float
    words: str
    advice: str


def judge(norms: Array, decay: Array, counts: Array, *, is_gru: bool = False) -> Verdict:
    """The verdict on one layer.

    Args:
        norms: (N, T) of dL/dc_t, of a GRU of dL/dh_t.
        decay: (T,) what is left of the gradient so many steps back.
        counts: (N, T) which steps count.
        is_gru: what keeps its memory are update gates.
    """
    if not np.isfinite(norms[counts]).all():
        return Verdict(
            float("nan"),
            "explodes: it is not finite",
            "find_nonfinite(model, x, y) says where it begins; clip it: "
            "optimizer=keras.optimizers.Adam(clipnorm=1.0).",
        )
    if not norms[counts].any():
        return Verdict(
            float("nan"),
            "nothing arrives",
            "the loss does not depend on this layer: look for a layer behind it that is dead "
            "(relu), frozen by stop_gradient, or not used.",
        )
    course = decay[np.isfinite(decay)]
    length = reaches(course, 1 / np.e)
    grown = float(course.max())
    if grown >= GROWN:
        return Verdict(
            length,
            f"explodes: {grown:.3g} times as large {int(course.argmax())} steps back",
            "clip it: optimizer=keras.optimizers.Adam(clipnorm=1.0); a smaller learning rate; "
            'recurrent_initializer="orthogonal"; tanh rather than relu or linear.',
        )
    gone = reaches(course, GONE)
    if np.isfinite(gone):
        return Verdict(
            length,
            f"vanishes: less than a thousandth is left after {int(np.ceil(gone))} steps",
            f"{_KEEP_IN_GRU if is_gru else _KEEP}; shorter sequences; attention over all hidden "
            "states instead of the last one.",
        )
    left, steps = float(course[-1]), len(course) - 1
    if left > 1:
        return Verdict(length, f"healthy: {left:.2g} times as large {steps} steps back", "")
    return Verdict(length, f"healthy: {100 * left:.2g} % of it is left after {steps} steps", "")


def reaches(course: Array, level: float) -> float:
    """The step, between two where need be, at which a course falls to a level; inf if never.

    >>> reaches(np.array([1.0, 0.5, 0.25]), 0.25)
    2.0
    """
    below = np.flatnonzero(course <= level)
    if len(below) == 0:
        return float("inf")
    k = int(below[0])
    if k == 0 or course[k] <= 0:
        return float(k)
    high, low = np.log(course[k - 1]), np.log(course[k])
    return float(k - 1 + (high - np.log(level)) / (high - low))
