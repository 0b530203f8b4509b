"""A report as tables, which are then printed or written as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from rich.markup import escape
from rich.table import Table as RichTable

from . import _compare
from ._job import MODES, DType, Mode
from ._limits import least_seconds, serial_roof
from ._peers import BY_NAME, PEERS
from ._report import Race, Report, Timing

DTYPES: tuple[DType, ...] = ("float32", "bfloat16")
NOTHING = "–"


@dataclass(frozen=True)
class Table:
    """Text in rows; the first column names the row."""

    key: str  # what it is about, for docs to choose by
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""

    def to_rich(self) -> RichTable:
        """For a terminal."""
        table = RichTable(title=self.title, title_justify="left", caption=self.note or None)
        table.caption_justify = "left"
        for n, column in enumerate(self.columns):
            table.add_column(column, justify="right" if n else "left")
        for row in self.rows:
            table.add_row(*map(escape, row))
        return table

    def to_markdown(self) -> str:
        """For docs."""
        head = (
            "| " + " | ".join(self.columns) + " |",
            "|---" + "|---:" * (len(self.columns) - 1) + "|",
        )
        rows = ("| " + " | ".join(row) + " |" for row in self.rows)
        note = f"\n\n{self.note}" if self.note else ""
        return f"**{self.title}**\n\n" + "\n".join((*head, *rows)) + note + "\n"


def times(value: float | None) -> str:
    """1.234 as 1.23x."""
    return NOTHING if value is None else f"{value:.2f}x"


def milliseconds(seconds: float | None) -> str:
    """Three digits that count."""
    if seconds is None:
        return NOTHING
    ms = 1e3 * seconds
    return f"{ms:.3g}" if ms < 100 else f"{ms:.0f}"


def percent(part: float | None) -> str:
    """0.5 as 50 %."""
    return NOTHING if part is None else f"{100 * part:.0f} %"


def giga(rate: float) -> str:
    """A rate a second in billions."""
    return f"{rate / 1e9:.0f}"


def limits(report: Report) -> Iterator[Table]:
    """The machine."""
    measured = report.limits
    rows = [
        (f"{dtype} multiply-adds in registers", giga(rate), "GFLOP/s")
        for dtype, rate in measured.flops.items()
    ]
    rows += [
        (f"{dtype} product of matrices by torch", giga(rate), "GFLOP/s")
        for dtype, rate in measured.products.items()
    ]
    rows += [(f"reads from {r.level}", giga(r.bytes_a_second), "GB/s") for r in measured.reads]
    if rows:
        title = f"What this machine does at best, {report.settings['threads']} threads"
        yield Table("limits", title, ("limit", "rate", "unit"), tuple(rows))


def summary(report: Report) -> Iterator[Table]:
    """Geometric means over the sizes."""
    against: dict[str, tuple[_compare.Against, Callable[[Mode, DType], bool]]] = {
        "fastest peer": (_compare.fastest_peer, lambda mode, dtype: True),
        "fastest float32 peer": (
            _compare.fastest_float32_peer,
            lambda mode, dtype: dtype == "bfloat16",
        ),
        "itself in float32, units >= 256": (
            _compare.own_float32,
            lambda mode, dtype: dtype == "bfloat16",
        ),
        "keras.layers.LSTM on the same backend": (_compare.keras_layer, lambda mode, dtype: True),
    }
    rows = []
    for peer in (p.name for p in PEERS if p.own):
        for mode in MODES:
            for dtype in DTYPES:
                for name, (other, applies) in against.items():
                    if not applies(mode, dtype):
                        continue
                    found = _compare.ratios(report, peer, mode, dtype, other)
                    if found is not None:
                        rows.append(
                            (peer, mode, dtype, name, times(found.mean), times(found.least))
                        )
    if rows:
        columns = ("", "mode", "dtype", "over", "geometric mean", "least")
        yield Table("summary", "How many times as fast, over all sizes", columns, tuple(rows))


def sizes(report: Report) -> Iterator[Table]:
    """Each size: conveyor, the fastest peer, the limit; and then everybody."""
    for mode in MODES:
        for dtype in DTYPES:
            races = [r for r in report.of("sizes") if _compare.own_timings(r, mode, dtype)]
            if races:
                yield _against_fastest(report, races, mode, dtype)
    for mode in MODES:
        for dtype in DTYPES:
            races = [
                race
                for race in report.of("sizes")
                if any(t.job.mode == mode and t.job.dtype == dtype for t in race.timings)
            ]
            if races:
                yield _everybody(races, mode, dtype)


def _against_fastest(report: Report, races: Sequence[Race], mode: Mode, dtype: DType) -> Table:
    names = _names([t for race in races for t in _compare.own_timings(race, mode, dtype)])
    rows = []
    for race in races:
        own = {t.peer: t for t in _compare.own_timings(race, mode, dtype)}
        best = _compare.fastest(own.values())
        assert best is not None  # such races were chosen
        peer = _compare.fastest_peer(race, best)
        job = best.job
        least = least_seconds(job, report.limits)
        roof = serial_roof(job, report.limits, report.settings["threads"])
        rows.append(
            (
                job.size,
                *(milliseconds(own[n].median if n in own else None) for n in names),
                f"{milliseconds(peer.median)} {peer.peer}" if peer else NOTHING,
                *(times(peer.median / own[n].median if peer and n in own else None) for n in names),
                percent(least / best.median if least else None),
                percent(roof / best.median if roof else None),
            )
        )
    columns = (
        "B x T x F x U",
        *(f"{name}, ms" for name in names),
        "fastest peer, ms",
        *(f"ratio, {name.partition('/')[2]}" for name in names),
        "of the peak",
        "of the serial roof",
    )
    return Table(f"sizes/{mode}/{dtype}", f"{mode.capitalize()}, {dtype}", columns, tuple(rows))


def _everybody(races: Sequence[Race], mode: Mode, dtype: DType) -> Table:
    chosen = [
        {t.peer: t for t in race.timings if t.job.mode == mode and t.job.dtype == dtype}
        for race in races
    ]
    names = _names([t for race in chosen for t in race.values()])
    sizes = [next(iter(race.values())).job.size for race in chosen]
    rows = tuple((name, *(_with_spread(race.get(name)) for race in chosen)) for name in names)
    title = f"{mode.capitalize()}, {dtype}: everybody, ms (and the interquartile range)"
    return Table(f"all/{mode}/{dtype}", title, ("B x T x F x U", *sizes), rows)


def _with_spread(timing: Timing | None) -> str:
    if timing is None:
        return NOTHING
    return f"{milliseconds(timing.median)} ({percent(timing.spread)})"


def _names(timings: Sequence[Timing]) -> list[str]:
    there = {t.peer for t in timings}
    return [name for name in BY_NAME if name in there]


def failures(report: Report) -> Iterator[Table]:
    """Who was not timed, and why."""
    rows = [(peer, "everywhere", why) for peer, why in report.skipped.items()]
    rows += [
        (f.peer, f"{f.job.size} {f.job.mode} {f.job.dtype}", " ".join(f.why.split())[:200])
        for race in report.races
        for f in race.failures
    ]
    if rows:
        yield Table("failures", "Not timed", ("", "where", "why"), tuple(rows))
