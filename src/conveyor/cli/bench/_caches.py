"""How large this machine's caches are, and how much of one to read to measure it."""

from __future__ import annotations

from pathlib import Path

_KIB, _MIB = 1 << 10, 1 << 20
_FOLDER = Path("/sys/devices/system/cpu/cpu0/cache")
_USUAL = {"L1": 32 * _KIB, "L2": 512 * _KIB, "L3": 8 * _MIB}
_UNITS = {"K": _KIB, "M": _MIB}


def sizes() -> dict[str, int]:
    """Bytes of each level; of the usual processor where the system does not say."""
    found = {}
    for index in sorted(_FOLDER.glob("index*")):
        if (index / "type").read_text().strip() != "Instruction":
            text = (index / "size").read_text().strip()
            level = (index / "level").read_text().strip()
            found[f"L{level}"] = int(text[:-1]) * _UNITS[text[-1]]
    return found or _USUAL


def working_sets(threads: int) -> dict[str, int]:
    """Bytes for each thread to read, by the memory that then holds them.

    Half of a cache, so that all of it stays; L3 is shared by the threads, and in a rented
    machine with strangers, hence a quarter. Memory is four times the last cache at least.
    """
    known = sizes()
    sets = {level: size // 2 for level, size in known.items() if level in ("L1", "L2")}
    if "L3" in known:
        sets["L3"] = known["L3"] // 4 // threads
    last = max(known.values())
    sets["memory"] = max(4 * last, 256 * _MIB) // threads
    return sets
