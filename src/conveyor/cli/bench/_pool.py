"""One process a peer, all on the same cores, of which one computes at a time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from ..._errors import ConveyorError
from ._peers import BY_NAME

# After its work a peer's threads spin for a while before they sleep.
_PAUSE = 0.02
_LONGEST_SPIN = 1.0


class WorkerError(ConveyorError):
    """A peer could not do what it was asked; the message is its own."""


@contextmanager
def on_cores(threads: int) -> Iterator[None]:
    """This process, and all that it starts meanwhile, on the first so many of its cores."""
    if not hasattr(os, "sched_setaffinity"):
        yield  # not Linux: the frameworks' own settings must do
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:threads])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def usable_cores() -> int:
    """The cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def environment(threads: int, backend: str) -> dict[str, str]:
    """What tells every framework to use so many threads, and no GPU."""
    n = str(threads)
    flags = os.environ.get("XLA_FLAGS", "")
    return {
        **os.environ,
        "KERAS_BACKEND": backend,
        "CONVEYOR_NUM_THREADS": n,
        "OMP_NUM_THREADS": n,
        "MKL_NUM_THREADS": n,
        "OPENBLAS_NUM_THREADS": n,
        "TF_NUM_INTRAOP_THREADS": n,
        "TF_NUM_INTEROP_THREADS": n,
        "TF_CPP_MIN_LOG_LEVEL": "3",
        # XLA takes as many threads as cores that it sees, unless told to take one.
        "XLA_FLAGS": f"{flags} --xla_cpu_multi_thread_eigen=false" if threads == 1 else flags,
        "JAX_PLATFORMS": "cpu",
        "CUDA_VISIBLE_DEVICES": "",
    }


class Worker:
    """A process that makes jobs ready and runs them when asked, one question at a time."""

    def __init__(self, name: str, backend: str, threads: int, engine: str) -> None:
        self.name = name
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (until close())
        self._process = subprocess.Popen(
            [sys.executable, "-m", "conveyor.cli.bench.worker", name, str(threads), engine],
            env=environment(threads, backend),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            bufsize=1,
        )

    def ask(self, question: str, **details: Any) -> dict[str, Any]:
        """The answer.

        Raises:
            WorkerError: it failed; it goes on unless its process ended.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"question": question, **details}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._ended() from None
        return self.answer()

    def answer(self) -> dict[str, Any]:
        """The next line that it writes."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise self._ended()
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer

    def _ended(self) -> WorkerError:
        code = self._process.wait()
        self._errors.seek(0)
        last = self._errors.read().decode(errors="replace").strip().splitlines()[-1:]
        return WorkerError(f"its process ended ({code}){': ' + last[0] if last else ''}")

    def lives(self) -> bool:
        """Whether its process has not ended."""
        return self._process.poll() is None

    def rest(self) -> None:
        """Return when none of its threads runs, so that they do not slow the next peer."""
        time.sleep(_PAUSE)
        end = time.monotonic() + _LONGEST_SPIN
        while _runs(self._process.pid) and time.monotonic() < end:
            time.sleep(_PAUSE / 4)

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()
        self._errors.close()


def _runs(pid: int) -> bool:
    """Whether a thread of the process is running or wants to; False where that is not known."""
    for stat in Path(f"/proc/{pid}/task").glob("*/stat"):
        try:
            text = stat.read_text()
        except OSError:
            continue  # that thread ended meanwhile
        if text[text.rindex(")") + 2] == "R":
            return True
    return False


class Pool:
    """The workers of some peers, started together."""

    def __init__(self, names: tuple[str, ...], *, threads: int, engine: str) -> None:
        self.threads = threads
        self.engine = engine
        self.versions: dict[str, str] = {}
        self.failed: dict[str, str] = {}  # peers that did not start, and why
        self._workers = {name: self._start(name) for name in names}
        for name in names:
            try:
                self.versions.update(self._workers[name].answer()["versions"])
            except WorkerError as error:
                self.failed[name] = str(error)
                self._workers.pop(name).close()

    def _start(self, name: str) -> Worker:
        return Worker(name, BY_NAME[name].backend, self.threads, self.engine)

    @property
    def names(self) -> tuple[str, ...]:
        """The peers that are there."""
        return tuple(self._workers)

    def worker(self, name: str) -> Worker:
        """The process of a peer; a new one where that ended."""
        worker = self._workers[name]
        return worker if worker.lives() else self.renew(name)

    def renew(self, name: str) -> Worker:
        """A fresh process: the one before ended, or its memory counts."""
        self._workers[name].close()
        self._workers[name] = self._start(name)
        self._workers[name].answer()
        return self._workers[name]

    def forget(self, names: Iterable[str]) -> None:
        """Free what was made ready."""
        for name in names:
            if self._workers[name].lives():
                self._workers[name].ask("drop")

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers.values():
            worker.close()
