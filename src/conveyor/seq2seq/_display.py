"""The training for people: a live panel in a terminal, lines in a log."""

from __future__ import annotations

import math
import time
from collections import deque
from typing import Any, Final

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ._evaluation import perplexity_of
from ._history import Evaluated, Reporter, Sample, TrainedBatch

_SECONDS_BETWEEN_UPDATES: Final = 0.5
_SECONDS_BETWEEN_LINES: Final = 60.0  # where there is no terminal
# Means are of the last batches: sentences of one length are together, and long ones are harder;
# those that were compiled first are soon forgotten.
_BATCHES_OF_MEANS: Final = 50


class Display(Reporter):
    """Loss, perplexity, dev scores, speed, time left; two translations after each evaluation.

    In a terminal a panel at the bottom moves, and each evaluation leaves a line above it.
    Elsewhere there is a line a minute, and one with samples an evaluation.

    Args:
        console: where to write.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None
        if console.is_terminal:
            self._live = Live(console=console, auto_refresh=False, transient=True)
        self._recent: deque[TrainedBatch] = deque(maxlen=_BATCHES_OF_MEANS)
        self._evaluated: Evaluated | None = None
        self._shown = -math.inf

    def began(self, facts: dict[str, Any]) -> None:
        """Say what is trained; show the panel."""
        self._shown = time.monotonic()
        self._print(
            f"{facts['pairs']:,} pairs to learn from, {facts['dev_pairs']:,} to judge by; "
            f"vocabulary {_sizes(facts)}; {facts['parameters']:,} parameters; "
            f"backend {facts['backend']}"
        )
        if facts["step"]:
            self._print(f"It goes on after step {facts['step']:,}.")
        if self._live is not None:
            self._live.start()
            self._live.update(Text("the first batch (a backend that compiles does so now)"))
            self._live.refresh()

    def trained(self, batch: TrainedBatch) -> None:
        """Move, twice a second."""
        self._recent.append(batch)
        now = time.monotonic()
        if self._live is None:
            if now - self._shown >= _SECONDS_BETWEEN_LINES:
                self._shown = now
                self._print(self._line())
        elif now - self._shown >= _SECONDS_BETWEEN_UPDATES:
            self._shown = now
            self._refresh()

    def evaluating(self) -> None:
        """Say so: it may take a while."""
        self._refresh("translating the dev pairs")

    def evaluated(self, evaluated: Evaluated) -> None:
        """Leave a line; without a terminal samples, too."""
        self._evaluated = evaluated
        self._print(evaluation_line(evaluated))
        if self._live is None:
            for sample in evaluated.samples:
                self._console.print(_sample_lines(sample), highlight=False, soft_wrap=True)
        self._refresh()

    def notice(self, text: str) -> None:
        """A line of its own."""
        self._print(Text(text, style="yellow"))

    def ended(self, facts: dict[str, Any]) -> None:
        """The summary."""
        self.close()
        speed = facts["target_tokens"] / max(facts["seconds"], 1e-9)
        self._print(
            f"Ended by {facts['ended']} after {facts['steps']:,} steps of training in "
            f"{_time(facts['seconds'])}, {speed:,.0f} target tokens/s."
        )
        of = f", of step {facts['model_step']:,}" if facts["model"] == "best" else ""
        measures = _measures(facts["dev"]) if facts["dev"] is not None else ["not judged"]
        self._print(f"The {facts['model']} model{of}: {'  '.join(measures)}")

    def close(self) -> None:
        """Give the terminal back; also after an error."""
        if self._live is not None:
            self._live.stop()

    def _print(self, text: Text | str) -> None:
        self._console.print(text, highlight=False, soft_wrap=True, markup=False)

    def _refresh(self, doing: str = "") -> None:
        if self._live is None or not self._recent:
            return
        bar = Table.grid(padding=(0, 1))
        done = self._recent[-1].progress
        bar.add_row(ProgressBar(total=1.0, completed=done, width=24), Text(doing))
        parts: list[Any] = [self._line(), bar]
        if self._evaluated is not None:
            parts += map(_sample_lines, self._evaluated.samples)
        self._live.update(Group(*parts))
        self._live.refresh()

    def _line(self) -> Text:
        recent = list(self._recent)
        first, batch = recent[0], recent[-1]
        tokens = [each.target_tokens for each in recent]
        loss = sum(n * each.loss for n, each in zip(tokens, recent, strict=True)) / sum(tokens)
        nll = sum(n * each.cross_entropy for n, each in zip(tokens, recent, strict=True))
        parts = [
            f"{_time(batch.seconds)}",
            f"step {batch.step:,}",
            f"epoch {batch.epoch:.1f}",
            f"loss {loss:.3f}",
            f"perplexity {_number(perplexity_of(nll / sum(tokens)))}",
        ]
        if batch.seconds > first.seconds:
            speed = sum(tokens[1:]) / (batch.seconds - first.seconds)
            parts.append(f"{speed:,.0f} tokens/s")
        if batch.progress > 0:
            left = batch.seconds * (1 - batch.progress) / batch.progress
            parts.append(f"{_time(left)} left")
        return Text("  ".join(parts))


def evaluation_line(evaluated: Evaluated) -> Text:
    """An evaluation in one line."""
    parts = [
        f"{_time(evaluated.seconds)}",
        f"step {evaluated.step:,}",
        f"epoch {evaluated.epoch:.1f}",
        f"loss {evaluated.loss:.3f}",
    ]
    if evaluated.dev is not None:
        parts += _measures(vars(evaluated.dev))
    else:
        parts.append(f"perplexity {_number(evaluated.perplexity)}")
    if evaluated.best:
        parts.append("the best so far")
    return Text("  ".join(parts), style="bold" if evaluated.best else "")


def _measures(dev: dict[str, Any]) -> list[str]:
    parts = [f"dev perplexity {_number(dev['perplexity'])}"]
    if dev["bleu"] is not None:
        parts += [f"BLEU {dev['bleu']:.1f}", f"chrF {dev['chrf']:.1f}"]
    return [*parts, f"exact {dev['exact_match']:.1%}"]


def _sizes(facts: dict[str, Any]) -> str:
    source, target = facts["source_vocabulary"], facts["target_vocabulary"]
    return f"{target:,}" if source == target else f"{source:,} and {target:,}"


def _sample_lines(sample: Sample) -> Group:
    texts = {"  reads ": sample.source, "  writes": sample.written, "  is    ": sample.target}
    return Group(
        *(
            Text.assemble((name, "dim"), " ", text, no_wrap=True, overflow="ellipsis")
            for name, text in texts.items()
        )
    )


def _number(value: float) -> str:
    return f"{value:,.2f}" if value < 100 else f"{value:,.0f}"


def _time(seconds: float) -> str:
    """
    >>> _time(3725.0)
    '1:02:05'
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
