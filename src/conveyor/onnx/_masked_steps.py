"""Masks of any pattern for an operator that knows lengths alone."""

from __future__ import annotations

import numpy as np

from ._builder import Builder


class Steps:
    """The steps that count, moved to the front of their sequence; and back what came of them.

    Args:
        build: the graph.
        mask: (B, T), False at steps that do not count.
    """

    def __init__(self, build: Builder, mask: str) -> None:
        self._build = build
        counts = build("Cast", mask, to=7)
        one = build.integers(1)
        # How many count up to a step, and how many before it.
        self._until = build("CumSum", counts, build.constant(np.int64(1)), hint="counted")
        self._before = build("Sub", self._until, counts)
        self._count = build("ReduceSum", counts, one, keepdims=1)
        self._time_steps = build("Slice", build("Shape", mask), one, build.integers(2))
        behind = build("Add", self._time_steps, one)
        keys = build("Where", mask, self._until, behind)
        _, self._order = build.many("TopK", [keys, self._time_steps], 2, "order", axis=1, largest=0)

    @property
    def lengths(self) -> str:
        """(B,), at least 1, as the operator wants it; what comes of it is put right by `any`."""
        build = self._build
        lengths = build("Cast", build("Squeeze", self._count, build.integers(1)), to=6)
        return build("Max", lengths, build.constant(np.int32(1)), hint="lengths")

    def any(self, state: str, start: str) -> str:
        """A last state (B, U), or the one before the first step where no step counts."""
        some = self._build("Greater", self._count, self._build.integers(0))
        return self._build("Where", some, state, start)

    def first(self, x: str) -> str:
        """(B, T, F), what counts before what does not."""
        return self._rows(x, self._order)

    def back(self, states: str, start: str) -> str:
        """States (B, T, U) of such steps at the steps as they were; a skipped one repeats.

        Before the first of them is `start`, (B, U).
        """
        build = self._build
        one = build("Unsqueeze", start, build.integers(1))
        return self._rows(build("Concat", one, states, axis=1), self._until)

    def back_turned(self, states: str, start: str) -> str:
        """The same where the last step was read first."""
        build = self._build
        none = build("Equal", self._before, self._count)
        places = build("Where", none, self._time_steps, self._before)
        one = build("Unsqueeze", start, build.integers(1))
        return self._rows(build("Concat", states, one, axis=1), places)

    def _rows(self, values: str, places: str) -> str:
        build = self._build
        return build(
            "GatherND", values, build("Unsqueeze", places, build.integers(2)), batch_dims=1
        )
