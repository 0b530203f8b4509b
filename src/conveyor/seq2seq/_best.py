"""The best models of a training, kept; and their average."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from ._files import replacing

Weights = list[NDArray[Any]]
# The measure that judges; then the perplexity, negated: of two translators that as yet get
# nothing right, the one that is nearer is better. Higher is better.
Score = tuple[float, float]


class BestModels:
    """So many models with the highest scores, in a folder or, without one, in memory.

    Of two with the same score the earlier one is better. A score that is not finite is none.

    Args:
        folder: gets one file a model, that `keras.saving.load_model` reads.
        keep: how many.
        entries: scores and steps of those that are there, the best first.
    """

    def __init__(
        self, folder: Path | None, keep: int, entries: Sequence[tuple[Score, int]] = ()
    ) -> None:
        self._folder = folder
        self._keep = keep
        self._in_memory: dict[int, Weights] = {}
        self.entries = list(entries)

    def is_best(self, score: Score) -> bool:
        """Whether no model so far has as high a score."""
        return _is_one(score) and (not self.entries or score > self.entries[0][0])

    def offer(self, model: keras.Model, step: int, score: Score) -> None:
        """Keep the model if it is one of the best.

        Those that are no longer are still there until `prune`.

        Raises:
            OSError: it could not be written; it is not among the best then.
        """
        if not _is_one(score):
            return
        entries = sorted([*self.entries, (score, step)], key=lambda entry: entry[0], reverse=True)
        entries = entries[: self._keep]  # the sort is stable: earlier ones first
        if (score, step) not in entries:
            return
        if self._folder is None:
            self._in_memory[step] = weights_of(model)
        else:
            self._folder.mkdir(exist_ok=True)
            with replacing(self.path(step)) as part:
                model.save(part)
        self.entries = entries

    def prune(self) -> None:
        """Forget those that are not among the best any more."""
        steps = {step for _, step in self.entries}
        self._in_memory = {s: w for s, w in self._in_memory.items() if s in steps}
        if self._folder is not None and self._folder.is_dir():
            kept = {self.path(step) for step in steps}
            for path in self._folder.iterdir():
                if path not in kept:
                    path.unlink()

    def path(self, step: int) -> Path:
        """The file of the model of a step."""
        return (self._folder or Path()) / f"step-{step:09d}.keras"

    def load(self, model: keras.Model, step: int) -> None:
        """Give the model the weights that it had at this step."""
        if self._folder is None:
            model.set_weights(self._in_memory[step])
        else:
            model.load_weights(self.path(step))

    def load_average(self, model: keras.Model) -> None:
        """Give the model the mean of the weights of all that are kept."""
        sums: Weights = []
        for _, step in self.entries:
            self.load(model, step)
            values = [value.astype("float64") for value in weights_of(model)]
            sums = [a + b for a, b in zip(sums, values, strict=True)] if sums else values
        model.set_weights([(total / len(self.entries)).astype("float32") for total in sums])


def _is_one(score: Score) -> bool:
    return all(map(math.isfinite, score))


def weights_of(model: keras.Model) -> Weights:
    """Copies of the weights."""
    return [np.array(keras.ops.convert_to_numpy(weight)) for weight in model.weights]


def save_model(model: keras.Model, path: Path) -> None:
    """Put the model in the place of the file."""
    with replacing(path) as part:
        model.save(part)
