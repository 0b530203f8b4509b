"""The training in one line: loss, exact match, speed, time left."""

from __future__ import annotations

import time
from typing import Any

import keras
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from ._schedule import Pace

_SECONDS_BETWEEN_UPDATES = 0.5


class ProgressDisplay(keras.callbacks.Callback):
    """A bar that moves in a terminal; elsewhere, in a log, a line at each evaluation.

    Args:
        pace: how far the training is.
        tokens_per_batch: source and target tokens together, without padding.
        console: where to write.
    """

    def __init__(self, pace: Pace, tokens_per_batch: float, console: Console) -> None:
        super().__init__()
        self._pace = pace
        self._tokens_per_batch = tokens_per_batch
        self._console = console
        self._progress = Progress(
            BarColumn(bar_width=16),  # with the line, below 80 columns
            TextColumn("{task.fields[line]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("training", total=1.0, line="compiling")
        self._exact_match: float | None = None
        self._first_batch_end = 0.0
        self._shown = 0.0

    def on_train_begin(self, logs: Any = None) -> None:
        """Show the bar."""
        self._progress.start()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Move the bar, twice a second."""
        now = time.monotonic()
        if self._pace.steps <= 1:
            self._first_batch_end = now
        if now - self._shown >= _SECONDS_BETWEEN_UPDATES:
            self._shown = now
            self._update(logs)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Take up what the evaluation found."""
        self._exact_match = (logs or {}).get("exact_match")
        self._update(logs)
        if not self._console.is_terminal:
            self._console.print(f"{self._pace.seconds:5.0f} s  {self._line(logs)}")

    def close(self) -> None:
        """Leave the last state of the bar standing; also after an error."""
        self._progress.stop()

    def _update(self, logs: Any) -> None:
        self._progress.update(self._task, completed=self._pace.progress, line=self._line(logs))

    def _line(self, logs: Any) -> str:
        pace = self._pace
        parts = [f"loss {float((logs or {}).get('loss', float('nan'))):.4f}"]
        if self._exact_match is not None:
            parts.append(f"exact match {self._exact_match:.1%}")
        # The first batch is left out: it is nearly all compilation.
        seconds = time.monotonic() - self._first_batch_end
        if pace.steps > 1 and seconds > 0:
            speed = (pace.steps - 1) * self._tokens_per_batch / seconds
            parts.append(f"{speed:,.0f} tokens/s")
        if pace.progress > 0:
            left = pace.seconds * (1 - pace.progress) / pace.progress
            parts.append(f"{left:.0f} s left")
        return "  ".join(parts)
