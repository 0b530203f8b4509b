"""`conveyor info`: what is installed, what runs, and on what."""

from __future__ import annotations

import os
import platform
import re
from importlib import metadata
from pathlib import Path

import keras
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from .. import __version__
from .._engines import _native, engines

# The instruction sets that matter to products of matrices, in /proc/cpuinfo's words.
_FEATURES = {
    "sse4_2": "SSE4.2",
    "avx": "AVX",
    "avx2": "AVX2",
    "fma": "FMA",
    "avx512f": "AVX-512F",
    "avx512_vnni": "AVX-512 VNNI",
    "avx512_bf16": "AVX-512 BF16",
    "amx_bf16": "AMX BF16",
    "asimd": "NEON",
    "sve": "SVE",
}


def show(console: Console) -> None:
    """Print the tables."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_column()
    table.add_row("conveyor", __version__)
    table.add_row("Python", f"{platform.python_version()} on {platform.platform()}")
    table.add_row("Keras", keras.version())
    table.add_row("backend", _backend())
    for engine in engines():
        ready = f"[green]ready[/]  [dim]({engine.what})[/]"
        missing = f"missing: {escape(engine.missing or '')}"
        table.add_row(f"engine {engine.name}", missing if engine.missing else ready)
    if _native.missing() is None:
        _add_native(table)
    table.add_row("processor", _processor())
    table.add_row("CPU features", _cpu_features())
    table.add_row("cores", f"{_cores()} may be used by this process")
    console.print(table)


def _add_native(table: Table) -> None:
    name = "instruction sets"
    for instruction_set, state in _native.instruction_sets().items():
        shown = "[green]in use[/]" if state == "in use" else state
        table.add_row(name, f"{instruction_set}: {shown}")
        name = ""
    number, reason = _native.threads()
    table.add_row("native threads", f"{number}, {reason}")


def _backend() -> str:
    name = keras.backend.backend()
    for package in (name, f"{name}-cpu"):
        try:
            return f"{name} {metadata.version(package)}"
        except metadata.PackageNotFoundError:
            continue
    return str(name)


def _cpuinfo() -> str:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""  # not Linux


def _processor() -> str:
    model = re.search(r"^model name\s*:\s*(.+)$", _cpuinfo(), re.MULTILINE)
    return model[1].strip() if model else platform.processor() or platform.machine()


def _cpu_features() -> str:
    flags = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", _cpuinfo(), re.MULTILINE)
    if flags is None:
        return "unknown on this system"
    words = set(flags[1].split())
    return ", ".join(name for word, name in _FEATURES.items() if word in words) or "none of note"


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
