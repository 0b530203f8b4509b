"""What flows through a model at one time step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Array = np.ndarray


@dataclass(frozen=True)
class Value:
    """An array of one time step, and which of its rows count."""

    array: Array  # (B, ...), without a time axis
    mask: Array | None = None  # (B,) bool; None: all


@dataclass(frozen=True)
class Rows:
    """The sessions that make this step: their rows in the tables of states."""

    index: slice | Array  # a slice where they lie side by side, in order

    def chosen(self, which: Array) -> Array:
        """The rows of those sessions that are True."""
        index = self.index
        if isinstance(index, slice):
            index = np.arange(index.start, index.stop)
        chosen: Array = index[which]
        return chosen


def joined(masks: list[Array | None]) -> Array | None:
    """A row counts where all say so, as in Keras's layers of several inputs."""
    there = [mask for mask in masks if mask is not None]
    if not there:
        return None
    both: Array = np.logical_and.reduce(there)
    return both
