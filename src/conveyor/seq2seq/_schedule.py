"""How far the training has come, and the learning rate that goes with it."""

from __future__ import annotations

import math
import time
from typing import Any

import keras

from ._config import Config

# Setting the learning rate makes Keras write its compiled state back to the model (JAX): 1 ms,
# so not at every batch.
_BATCHES_BETWEEN_CHANGES = 10


class Pace:
    """The way from begin (0.0) to end (1.0) of the training, by batches or by the clock.

    Whichever limit of the config is nearer counts: so the learning rate reaches zero both on
    a fast machine and, by `max_seconds`, on a slow one.
    """

    def __init__(self, config: Config) -> None:
        self._max_steps = config.steps or math.inf
        self._max_seconds = config.max_seconds or math.inf
        self._start = time.monotonic()
        self.steps = 0

    @property
    def seconds(self) -> float:
        """Wall time since the begin."""
        return time.monotonic() - self._start

    @property
    def progress(self) -> float:
        """From 0 to 1."""
        return min(1.0, max(self.steps / self._max_steps, self.seconds / self._max_seconds))


def learning_rate_at(progress: float, config: Config) -> float:
    """Up from a tenth of the peak along a line, down to zero along a cosine.

    >>> [learning_rate_at(p, Config(learning_rate=1.0, warmup=0.5)) for p in (0, 0.25, 0.5, 1)]
    [0.1, 0.55, 1.0, 0.0]
    """
    if progress < config.warmup:
        return config.learning_rate * (0.1 + 0.9 * progress / config.warmup)
    done = (progress - config.warmup) / (1 - config.warmup)
    return config.learning_rate * (1 + math.cos(math.pi * done)) / 2


class Schedule(keras.callbacks.Callback):
    """Counts the batches, sets the learning rate, and stops at the end."""

    def __init__(self, pace: Pace, config: Config) -> None:
        super().__init__()
        self._pace = pace
        self._config = config

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Set the learning rate, now and then."""
        if self._pace.steps % _BATCHES_BETWEEN_CHANGES == 0:
            model: Any = self.model
            model.optimizer.learning_rate = learning_rate_at(self._pace.progress, self._config)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Count the batch; stop if it was the last."""
        self._pace.steps += 1
        if self._pace.progress >= 1:
            model: Any = self.model
            model.stop_training = True
