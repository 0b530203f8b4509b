"""What was measured, as Markdown, and where it stands in docs/performance.md."""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Iterable
from typing import Any

from conveyor.cli.bench._tables import NOTHING, Table, times

from ._contestants import DTYPES, PEERS

# Between these two comments stands what was measured; `measured:` is of benchmarks/run.py.
_PLACE = re.compile(r"(<!-- translators: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)

_NOTE = (
    "PyTorch is the faster one of its two forms, eager and compiled, in that precision; "
    "ratios are medians over turns. The check: the loss at the end; how many targets are those of "
    "the first row."
)


def fill(page: str, results: dict[str, Any]) -> str:
    """The page with the tables of these results; places without results stay as they are."""

    def place(found: re.Match[str]) -> str:
        make, measured = TABLES.get(found[2]), results.get(found[2])
        if make is None or not measured:
            return found[0]
        return found[1] + "\n" + "\n".join(t.to_markdown() for t in make(measured)) + found[3]

    return _PLACE.sub(place, page)


def speed(entries: list[dict[str, Any]]) -> list[Table]:
    """Training."""
    return [_rates("speed", "Training: target tokens a second", entries)]


def decoding(found: dict[str, list[dict[str, Any]]]) -> list[Table]:
    """Greedy search, and by beams."""
    return [
        _rates(f"decoding/{beam}", f"Translating, {_search(int(beam))}: sentences a second", rates)
        for beam, rates in found.items()
    ]


def _search(beam: int) -> str:
    return "greedy" if beam == 1 else f"beam {beam}"


def _rates(key: str, title: str, entries: list[dict[str, Any]]) -> Table:
    rates = {
        (e["contestant"]["name"], e["contestant"]["dtype"]): e["rates"]
        for e in entries
        if e["rates"]
    }
    best = {
        dtype: max(
            (rates[peer, dtype] for peer in PEERS if (peer, dtype) in rates),
            key=statistics.median,
            default=None,
        )
        for dtype in DTYPES
    }
    rows = []
    checks = {(e["contestant"]["name"], e["contestant"]["dtype"]): _check(e) for e in entries}
    for (name, dtype), mine in rates.items():
        ratios = [times(_ratio(mine, best[other])) for other in (dtype, "float32")]
        median = f"{statistics.median(mine):,.0f}"
        rows.append((name, dtype, median, *ratios, checks[name, dtype]))
    rows += [
        (e["contestant"]["name"], e["contestant"]["dtype"], NOTHING, NOTHING, NOTHING, e["failed"])
        for e in entries
        if e["failed"]
    ]
    columns = (
        "translator",
        "precision",
        "a second",
        "over PyTorch",
        "over PyTorch in float32",
        "check",
    )
    return Table(key, title, columns, tuple(rows), _NOTE)


def _check(entry: dict[str, Any]) -> str:
    """That it did the same work."""
    if entry["same"] is not None:
        return f"{entry['same']:.0%} the same"
    return f"loss {entry['losses'][-1]:.2f}" if entry["losses"] else NOTHING


def _ratio(mine: Iterable[float], theirs: Iterable[float] | None) -> float | None:
    if theirs is None:
        return None
    return statistics.median(a / b for a, b in zip(mine, theirs, strict=True))


def quality(found: list[dict[str, Any]]) -> list[Table]:
    """BLEU after so many minutes."""
    columns = ("translator", "minutes of training", "test BLEU, beam 5", "greedy", "aim")
    rows = tuple(
        (
            run["name"],
            f"{run['minutes']:g}",
            *(NOTHING if run.get(b) is None else f"{run[b]:.1f}" for b in ("beam", "greedy")),
            f"{run['aim']:g}" if run.get("aim") else NOTHING,
        )
        for run in found
    )
    note = found[0].get("signature", "") if found else ""
    return [Table("quality", "Test BLEU after minutes of training", columns, rows, note)]


TABLES: dict[str, Callable[[Any], list[Table]]] = {
    "speed": speed,
    "decoding": decoding,
    "quality": quality,
}
