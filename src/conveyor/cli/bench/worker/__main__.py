"""Answers questions until there are no more.

    {"question": "set_up", "number": 3, "job": {...}, "save": "values.npz"}
    {"question": "run", "number": 3, "times": 5, "warm_up": true}
    {"question": "memory", "job": {...}}
    {"question": "drop"}

The first line of all, unasked, holds the versions of what the peer runs on.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

from .._job import Job, job_from_json
from .._peers import BY_NAME, Peer
from . import _memory
from ._ready import Ready

_LONG = 5.0  # seconds


class Answers:
    """The jobs of one peer that are ready, and what can be asked of them."""

    def __init__(self, peer: Peer, threads: int, engine: str) -> None:
        module = import_module(f".{peer.module}", __package__)
        self._prepare: Callable[[Job], Ready] = lambda job: module.prepare(
            job, peer, threads=threads, engine=engine
        )
        self.versions: dict[str, str] = module.versions()
        self._ready: dict[int, Ready] = {}

    def set_up(self, number: int, job: dict[str, Any], save: str) -> dict[str, Any]:
        """Make ready, keep the values of the first run; say how long a run takes, about."""
        ready = self._prepare(job_from_json(job))
        start = time.perf_counter()
        result = ready.run()
        seconds = time.perf_counter() - start
        np.savez(save, **ready.values(result))  # type: ignore[arg-type]
        self._ready[number] = ready
        if seconds < _LONG:  # or else whatever was compiled matters little
            seconds = _time(ready, 1)[0] * ready.parts
        return {"seconds": seconds}

    def run(self, number: int, times: int, warm_up: bool) -> dict[str, Any]:
        """The seconds of so many runs, after one that does not count."""
        ready = self._ready[number]
        if warm_up:
            ready.run()
        return {"seconds": _time(ready, times)}

    def drop(self) -> dict[str, Any]:
        """Forget all jobs."""
        self._ready.clear()
        gc.collect()
        return {}

    def memory(self, job: dict[str, Any]) -> dict[str, Any]:
        """Bytes that a job takes at most; see `_memory`."""
        return {"bytes": _memory.peak(self._prepare, job_from_json(job))}


def _time(ready: Ready, times: int) -> list[float]:
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        result = ready.run()
        seconds.append((time.perf_counter() - start) / ready.parts)
        # Not while the next is computed: no user keeps the results of all calls.
        del result
    return seconds


def main() -> None:
    """Answer on what was standard output; what frameworks print goes to standard error."""
    name, threads, engine = sys.argv[1:]
    answers_to = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def say(answer: dict[str, Any]) -> None:
        answers_to.write(json.dumps(answer) + "\n")

    answers = Answers(BY_NAME[name], int(threads), engine)
    say({"versions": answers.versions})
    for line in sys.stdin:
        question = json.loads(line)
        try:
            say(getattr(answers, question.pop("question"))(**question))
        except Exception as error:  # whatever a framework raises: the parent prints it
            say({"error": f"{type(error).__name__}: {error}"})


if __name__ == "__main__":
    main()
