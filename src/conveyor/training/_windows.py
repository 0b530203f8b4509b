"""Batches of sequences, cut into windows of time steps."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras.src.trainers.data_adapters.generator_data_adapter import GeneratorDataAdapter

from .._errors import ConveyorError, lesson
from ._batches import Batches
from ._time_axis import WHERE, TimeAxis


class Windows(GeneratorDataAdapter):
    """What Keras's `fit` draws from: ((x, first, learns), y, weights) for each window, in order.

    Attributes:
        skips: whether `learns` is to be looked at: there may be windows without loss.
    """

    def __init__(self, batches: Batches, window: int, axis: TimeAxis) -> None:
        self._batches, self._window, self._axis = batches, window, axis
        sample = batches.sample
        # Also where the data end by surprise: TensorFlow counts a step of the optimizer that has no
        # data, unless it has to look at these first.
        self.skips = bool(axis.masks) or len(sample) > 2 or batches.count is None
        steps = self._time_steps(sample)
        self._count = None if batches.count is None else batches.count * -(-steps // window)
        self.generator = self._epoch
        # TensorFlow makes its signature of these: an axis that differs is free.
        last = steps % window or window if self._count is not None else 0
        self._first_batches = [self._cut(sample, 0, n) for n in (min(window, steps), last)]
        self._output_signature = None

    @property
    def sample(self) -> Any:
        """A first window, as Keras wants it: (x, y, weights)."""
        (x, _, _), *rest = self._first_batches[0]
        return x, *rest

    @property
    def rows(self) -> int:
        """Of the first batch."""
        return len(self._first_batches[0][0][1])

    @property
    def num_batches(self) -> int | None:
        """Windows in an epoch. What Keras takes None for, it takes from the epoch before."""
        return sys.maxsize if self._count is None else self._count

    @property
    def known_count(self) -> int | None:
        """The same, None where only the end will tell."""
        return self._count

    def on_epoch_begin(self) -> None:
        self._batches.on_epoch_begin()

    def on_epoch_end(self) -> None:
        self._batches.on_epoch_end()

    def _epoch(self) -> Iterator[Any]:
        for batch in self._batches.epoch():
            steps = self._time_steps(batch)
            for start in range(0, steps, self._window):
                yield self._cut(batch, start, min(start + self._window, steps))

    def _cut(self, batch: Any, start: int, stop: int) -> Any:
        x, *rest = batch
        total = self._time_steps(batch)

        def of_x(array: Any, timed: bool) -> Any:
            return array[:, start:stop] if timed else array

        def of_targets(array: Any) -> Any:
            return array[:, start:stop]

        def of_weights(array: Any) -> Any:
            if np.ndim(array) == 1:
                return array[:, None]  # Keras would take it for the weights of time steps
            return array[:, start:stop] if array.shape[1] == total else array

        x = keras.tree.map_structure(of_x, x, self._axis.cut(x))
        for n, cut in enumerate([of_targets, of_weights][: len(rest)]):
            rest[n] = keras.tree.map_structure(cut, rest[n])
        rows = len(keras.tree.flatten(x)[0])
        first = np.full(rows, start == 0)
        learns = np.full(rows, not self.skips or self._learns(x, rest))
        return (x, first, learns), *rest

    def _learns(self, x: Any, rest: list[Any]) -> bool:
        """Whether there is a loss in this window."""
        if len(rest) > 1 and not any(np.any(w) for w in keras.tree.flatten(rest[1])):
            return False
        return not self._axis.padding(x)

    def _time_steps(self, batch: Any) -> int:
        """T of a batch.

        Raises:
            ConveyorError: inputs of several lengths, or targets that are not of this one.
        """
        x, *rest = batch
        flags = keras.tree.flatten(self._axis.cut(x))
        timed = [a for a, flag in zip(keras.tree.flatten(x), flags, strict=True) if flag]
        lengths = {int(array.shape[1]) for array in timed}
        if len(lengths) > 1:
            raise lesson(
                WHERE,
                "inputs of one length (batch, time_steps, ...)",
                f"inputs of shape {', '.join(str(tuple(a.shape)) for a in timed)}",
                "Pad them to the same number of time steps, with a Masking layer behind each.",
            )
        (steps,) = lengths
        for y in keras.tree.flatten(rest[0]) if rest else ():
            if np.ndim(y) < 2 or y.shape[1] != steps:
                raise _other_targets(tuple(y.shape), steps)
        return steps


def _other_targets(shape: tuple[int, ...], steps: int) -> ConveyorError:
    return lesson(
        WHERE,
        f"targets for every time step, (batch, {steps}, ...), as every window has a loss",
        f"y of shape {shape}",
        "A label for a whole sequence is given at every time step: "
        "y = np.repeat(y[:, None], x.shape[1], axis=1); a sample_weight of shape "
        "(sequences, time_steps) says which steps count.",
    )
