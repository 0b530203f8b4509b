"""The order of the rows in a heat map."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def order_of_units(states: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Units with a similar course over time next to each other: above the risen, below the fallen.

    Each course is reduced to its two first principal components, without regard to its size,
    and the units are sorted by the angle between the two. Neighbours turn gently into each other,
    which sorting by one number does not give, and nothing is there to be tuned as in clustering.

    Args:
        states: (T, U), the states of one sequence.

    Returns:
        (U,) the indices of the units, top row first. The same states give the same order.

    >>> rises, falls, rises_more = [0.1, 0.4, 0.5], [-0.2, -0.5, -0.9], [0.2, 0.8, 1.0]
    >>> order_of_units(np.array([rises, falls, rises_more]).T).tolist()
    [0, 2, 1]
    """
    courses = _finite(states).T
    lengths = np.linalg.norm(courses, axis=1, keepdims=True)
    courses = courses / np.where(lengths > 0, lengths, 1.0)
    scores, sizes, axes = np.linalg.svd(courses, full_matrices=False)
    # The sign of a principal axis is arbitrary: let the first one mean "risen in the end".
    signs = np.where(axes[:, -1] < 0, -1.0, 1.0)
    scores = scores * sizes * signs
    second = scores[:, 1] if scores.shape[1] > 1 else np.zeros(len(scores))
    # Rounded, so that the noise of the last digit does not decide between equal units.
    angle = np.round(np.arctan2(second, scores[:, 0]), 6)
    return np.argsort(np.mod(angle + np.pi / 2, 2 * np.pi), kind="stable")


def _finite(states: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    values: npt.NDArray[np.float64] = np.asarray(states, dtype=np.float64)
    return np.where(np.isfinite(values), values, 0.0)
