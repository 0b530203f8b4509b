"""Who takes part, and the process of each."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from conveyor.cli.bench._pool import Worker, environment

# By default the C library gives large arrays back to the system and clears fresh pages for the
# next: 15 to 20 ms for the logits of one batch alone, where a step takes about 300. With these it
# keeps them, in all processes alike.
MALLOC = {"MALLOC_MMAP_THRESHOLD_": "1073741824", "MALLOC_TRIM_THRESHOLD_": "4294967296"}

BACKENDS = ("torch", "jax", "tensorflow")
PEERS = ("pytorch", "pytorch compiled")  # the faster one counts
PLAIN = "pytorch plain"
DTYPES = ("float32", "bfloat16")


@dataclass(frozen=True)
class Contestant:
    """A translator in a precision."""

    name: str  # conveyor/jax, ..., pytorch
    dtype: str

    @property
    def backend_of_conveyor(self) -> str:
        """Empty for those of plain PyTorch."""
        return self.name.partition("/")[2]

    def __str__(self) -> str:
        return f"{self.name} {self.dtype}"


class Process(Worker):
    """The process of a contestant: answers one question at a time, see `_worker.py`."""

    def __init__(self, contestant: Contestant, threads: int, folder: Path) -> None:
        self.name = str(contestant)
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (until close())
        here = str(Path(__file__).parents[1])
        paths = os.environ.get("PYTHONPATH", "")
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "translators._worker"),
                *(contestant.name, contestant.dtype, str(threads), str(folder)),
            ],
            env={
                **environment(threads, contestant.backend_of_conveyor or "torch"),
                **MALLOC,
                # After the paths given: only the worker needs it, as translators.
                "PYTHONPATH": f"{paths}{os.pathsep}{here}" if paths else here,
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            bufsize=1,
        )
