"""PyTorch's OpenMP threads, for the native core.

They spin for milliseconds after each of PyTorch's operations. With threads of its own the core
would have half a core of theirs: a training of a translator took 1.3 times as long.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys
from pathlib import Path

import torch

from .. import _library


def share() -> bool:
    """Whether the core computes on PyTorch's threads from now on."""
    return sys.platform == "linux" and any(_library.use_openmp(core) for core in _runtimes())


def _runtimes() -> list[ctypes.CDLL]:
    """Where PyTorch finds its runtime: what was there before it, then what it brings along."""
    loaded = [ctypes.CDLL(None)]  # LD_PRELOAD
    with contextlib.suppress(OSError):
        # A symbol is looked for in a library and in those that it is linked to.
        loaded.append(ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so")))
    return loaded
