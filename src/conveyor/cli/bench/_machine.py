"""Which machine it was."""

from __future__ import annotations

import platform

from .._info import _cpu_features, _processor
from . import _caches
from ._pool import usable_cores


def describe() -> dict[str, str]:
    """Name and value, for people."""
    caches = ", ".join(f"{level} {_size(n)}" for level, n in _caches.sizes().items())
    return {
        "processor": _processor(),
        "instructions": _cpu_features(),
        "cores": f"{usable_cores()} usable",
        "caches": f"{caches} (L1, L2 a core)",
        "system": platform.platform(),
        "Python": platform.python_version(),
    }


def _size(n: int) -> str:
    return f"{n >> 20} MiB" if n >= 1 << 20 else f"{n >> 10} KiB"
