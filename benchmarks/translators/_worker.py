"""The process of one contestant: `python -m translators._worker NAME DTYPE THREADS FOLDER`.

Answers questions, one JSON object a line, until there are no more:

    {"question": "train", "batches": [0, 1, 2]}            losses, seconds of each
    {"question": "learn", "minutes": 10, "save": "..."}    trains a translator for so long
    {"question": "load", "path": "..."}                    a trained translator
    {"question": "translate", "beam": 1, "sentences": 200} what was written, seconds
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from ._data import Files, tokens_of


class Translating(Protocol):
    """What a contestant can do."""

    def train(self, number: int) -> float:
        """A step on this batch of `Files.batches`; its loss."""

    def learn(self, minutes: float, save: str) -> dict[str, Any]:
        """A training from the start."""

    def load(self, path: str) -> None:
        """What a training left."""

    def translate(self, sources: list[list[int]], beam: int) -> list[list[int]]:
        """Token ids."""


def make(name: str, dtype: str, threads: int, files: Files) -> Translating:
    if name.startswith("conveyor/"):
        from ._conveyor import Conveyor

        return Conveyor(dtype, files)
    from ._pytorch import PyTorch

    return PyTorch(name, dtype, threads, files)


def answer(contestant: Translating, files: Files, question: dict[str, Any]) -> dict[str, Any]:
    match question.pop("question"):
        case "train":
            timed = [_timed(lambda n=n: contestant.train(n)) for n in question["batches"]]  # type: ignore[misc]
            losses, seconds, cpu_seconds = zip(*timed, strict=True)
            return {"losses": losses, "seconds": seconds, "cpu_seconds": cpu_seconds}
        case "learn":
            return contestant.learn(**question)
        case "load":
            contestant.load(**question)
            return {}
        case "translate":
            sources = files.ids()["test"][: question["sentences"]]
            targets, seconds, cpu_seconds = _timed(
                lambda: contestant.translate(sources, question["beam"])
            )
            return {"targets": targets, "seconds": seconds, "cpu_seconds": cpu_seconds}
        case unknown:
            raise ValueError(unknown)


def _timed(run: Callable[[], Any]) -> tuple[Any, float, float]:
    """What it returns, the seconds that passed, and those that this process computed."""
    began, computed = time.perf_counter(), time.process_time()
    found = run()
    return found, time.perf_counter() - began, time.process_time() - computed


def main() -> None:
    name, dtype, threads, folder = sys.argv[1:]
    # Frameworks write to stdout, too.
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def tell(what: dict[str, Any]) -> None:
        out.write(json.dumps(what) + "\n")

    try:
        files = Files(Path(folder))
        contestant = make(name, dtype, int(threads), files)
    except Exception as error:
        tell({"error": f"{type(error).__name__}: {error}"})
        return
    tell({"ready": True, "tokens": [tokens_of(batch) for batch in files.batches()]})
    for line in sys.stdin:
        try:
            tell(answer(contestant, files, json.loads(line)))
        except Exception as error:
            tell({"error": f"{type(error).__name__}: {error}"})


if __name__ == "__main__":
    main()
