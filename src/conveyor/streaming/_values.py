"""What flows through a model at one time step, or at several."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Array = np.ndarray


@dataclass(slots=True)
class Value:
    """An array, and which of its rows count."""

    array: Array  # (B, ...), without a time axis; several steps: (T, B, ...) where it has one
    mask: Array | None = None  # (B,) or (T, B) bool; None: all


@dataclass(slots=True)
class Rows:
    """The sessions that make this step: their rows in the tables of states."""

    index: int | Array  # the first, where they lie side by side in order; else all
    count: int

    def of(self, table: Array) -> Array:
        """Their rows of a table: a view where they lie side by side, else a copy."""
        index = self.index
        return table[index : index + self.count] if isinstance(index, int) else table[index]

    def chosen(self, which: Array) -> Array:
        """The rows of those sessions that are True."""
        index = self.index
        if isinstance(index, int):
            index = np.arange(index, index + self.count)
        chosen: Array = index[which]
        return chosen


def joined(masks: list[Array | None]) -> Array | None:
    """A row counts where all say so, as in Keras's layers of several inputs."""
    there = [mask for mask in masks if mask is not None]
    if not there:
        return None
    both: Array = np.logical_and.reduce(there)
    return both
