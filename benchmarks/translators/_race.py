"""Contestants taking turns, so that all see the same noise."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from conveyor.cli.bench._pool import WorkerError

from ._contestants import Contestant, Process
from ._data import Files

# A turn is so many batches, and one before them that does not count.
_BATCHES_A_TURN = 4


@dataclass
class Entry:
    """What was measured of a contestant; one figure a turn."""

    contestant: Contestant
    rates: list[float] = field(default_factory=list)  # tokens, or sentences, a second
    tokens: int = 0  # that it wrote, in all
    same: float | None = None  # share of targets that are those of the first contestant
    losses: list[float] = field(default_factory=list)  # of each turn's last batch
    failed: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.rates)

    def over(self, other: Entry) -> float:
        """Median of the ratios of the turns: what disturbs both falls out."""
        pairs = zip(self.rates, other.rates, strict=True)
        return statistics.median(mine / theirs for mine, theirs in pairs)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class Race:
    """The processes of some contestants.

    Args:
        contestants: who takes part.
        threads: of each.
        files: what they read.
        cpu: count the time that they compute, not the time that passes: for a busy machine, and
            for one thread only, as threads that wait for each other compute, too.
    """

    def __init__(
        self, contestants: Sequence[Contestant], threads: int, files: Files, *, cpu: bool = False
    ) -> None:
        self._clock = "cpu_seconds" if cpu else "seconds"
        self.entries = [Entry(contestant) for contestant in contestants]
        self._processes = [Process(c, threads, files.folder) for c in contestants]
        self._tokens: list[int] = []
        for entry, process in self._running():
            ready = self._ask(entry, process, None)
            self._tokens = ready.get("tokens", self._tokens)

    def __enter__(self) -> Race:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.close()

    def _running(self) -> list[tuple[Entry, Process]]:
        both = zip(self.entries, self._processes, strict=True)
        return [(entry, process) for entry, process in both if not entry.failed]

    def _ask(self, entry: Entry, process: Process, question: str | None, **more: Any) -> Any:
        try:
            found = process.answer() if question is None else process.ask(question, **more)
        except WorkerError as error:
            entry.failed = str(error)
            return {}
        process.rest()
        return found

    def train(self, turns: int) -> None:
        """Tokens a second of training: each contestant on the same batches in each turn."""
        size = 1 + _BATCHES_A_TURN
        turns = min(turns, len(self._tokens) // size)
        for entry, process in self._running():  # compiles all shapes
            self._ask(entry, process, "train", batches=list(range(turns * size)))
        for turn in range(turns):
            running = self._running()
            batches = list(range(turn * size, (turn + 1) * size))
            tokens = sum(self._tokens[n] for n in batches[1:])
            # Who follows whom changes, so that nobody always comes after the same one.
            for entry, process in running if turn % 2 == 0 else running[::-1]:
                found = self._ask(entry, process, "train", batches=batches)
                if found:
                    entry.rates.append(tokens / sum(found[self._clock][1:]))
                    entry.losses.append(found["losses"][-1])

    def load(self, paths: dict[Contestant, str]) -> None:
        """Trained models."""
        for entry, process in self._running():
            self._ask(entry, process, "load", path=paths[entry.contestant])

    def translate(self, turns: int, sentences: int, beam: int) -> None:
        """Sentences a second."""
        first: list[list[int]] = []
        for turn in range(turns + 1):  # the first compiles, and does not count
            running = self._running()
            for entry, process in running if turn % 2 == 0 else running[::-1]:
                found = self._ask(entry, process, "translate", sentences=sentences, beam=beam)
                if found and turn:
                    entry.rates.append(sentences / found[self._clock])
                elif found:
                    targets = found["targets"]
                    first = first or targets
                    entry.tokens = sum(map(len, targets))
                    pairs = zip(targets, first, strict=True)
                    entry.same = sum(a == b for a, b in pairs) / len(targets)
