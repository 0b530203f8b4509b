"""How far a training has come, and the learning rate that goes with it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

from .._errors import lesson
from ._config import TrainingConfig


class Clock:
    """The seconds of training; what is done in `paused()` does not count.

    >>> clock = Clock(90.0)
    >>> with clock.paused():
    ...     seconds = clock.seconds
    >>> 90 <= seconds < 91
    True
    """

    def __init__(self, seconds: float = 0.0) -> None:
        self._before = seconds
        self._since: float | None = time.monotonic()

    @property
    def seconds(self) -> float:
        """Those so far."""
        running = 0.0 if self._since is None else time.monotonic() - self._since
        return self._before + running

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stand still meanwhile."""
        self._before, self._since = self.seconds, None
        try:
            yield
        finally:
            self._since = time.monotonic()


def shares_done(
    config: TrainingConfig, *, steps: int, epochs: float, seconds: float
) -> dict[str, float]:
    """How much of each limit is used up, from 0 to 1 and beyond.

    The largest is the progress of the training: so the learning rate reaches its last value
    on a fast machine by `epochs` or `steps`, and on a slow one by `max_minutes`.

    >>> config = TrainingConfig(epochs=10, steps=400)
    >>> shares_done(config, steps=300, epochs=5.0, seconds=60.0)
    {'epochs': 0.5, 'steps': 0.75}
    """
    shares: dict[str, float] = {}
    if config.epochs is not None:
        shares["epochs"] = epochs / config.epochs
    if config.steps is not None:
        shares["steps"] = steps / config.steps
    if config.max_minutes is not None:
        shares["max_minutes"] = seconds / (60 * config.max_minutes)
    return shares


def learning_rate_at(progress: float, config: TrainingConfig) -> float:
    """Up from a tenth of the peak along a line; then down, as `decay` says.

    To zero along half a wave (cosine, Loshchilov & Hutter 2017) or a line (linear); with the
    inverse of the square root of the progress (inverse_sqrt, Vaswani et al. 2017); or not at
    all (none).

    >>> config = TrainingConfig(learning_rate=1.0, warmup=0.5)
    >>> [learning_rate_at(p, config) for p in (0, 0.25, 0.5, 1)]
    [0.1, 0.55, 1.0, 0.0]
    """
    peak, warmup = config.learning_rate, config.warmup
    if progress < warmup:
        return peak * (0.1 + 0.9 * progress / warmup)
    done = (progress - warmup) / (1 - warmup)
    if config.decay == "cosine":
        return peak * (1 + math.cos(math.pi * done)) / 2
    if config.decay == "linear":
        return peak * (1 - done)
    if config.decay == "inverse_sqrt":
        return peak * math.sqrt(warmup / progress) if progress else peak
    return peak


def check_schedule(config: TrainingConfig, where: str) -> None:
    """Refuse what no learning rate follows from.

    Raises:
        ConveyorError: inverse_sqrt without a warm-up to take its scale from.
    """
    if config.decay == "inverse_sqrt" and not config.warmup:
        raise lesson(
            where,
            "a warm-up for the inverse square root to begin at",
            'training.decay="inverse_sqrt", training.warmup=0.0',
            'Write TrainingConfig(decay="inverse_sqrt", warmup=0.03), or decay="cosine".',
        )
