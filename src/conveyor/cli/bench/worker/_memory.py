"""How much memory a job takes at its peak, in a process that does nothing else."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from .._job import Job
from ._ready import Ready

_STATUS = Path("/proc/self/status")


def peak(prepare: Callable[[Job], Ready], job: Job) -> int:
    """Resident bytes at the peak of a run, over those before the process knew the job.

    Inputs, weights, results and what the peer keeps between runs are in it; its code is
    not, as a small job went before, and compiling is not, as a first run does.
    """
    _run(prepare(replace(job, batch=1, time_steps=2)))
    _give_back()
    if not _STATUS.exists():
        before = _peak_so_far()
        ready = prepare(job)
        _run(ready)
        return _peak_so_far() - before
    before = _status("VmRSS")
    ready = prepare(job)
    _run(ready)
    _give_back()
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    _run(ready)
    return _status("VmHWM") - before


def _run(ready: Ready) -> None:
    ready.run()


def _give_back() -> None:
    """Return to the system what was freed."""
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it
        if trim is not None:
            trim(0)


def _status(name: str) -> int:
    for line in _STATUS.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"{_STATUS} has no {name}")


def _peak_so_far() -> int:
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
