"""`conveyor bench`: its options."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, cast

import typer
from rich.console import Console

from .._errors import ConveyorError
from . import bench as _bench

_EXPERIMENTS = tuple(_bench.EXPERIMENTS)
_LONG_SECONDS, _SHORT_SECONDS = 10.0, 2.5


def _each_of(*choices: str) -> Callable[[Sequence[str]], Sequence[str]]:
    def check(given: Sequence[str]) -> Sequence[str]:
        for word in given:
            if word not in choices:
                raise typer.BadParameter(f"{word!r} is none of {', '.join(choices)}")
        return given

    return check


def _one_of(*choices: str) -> Callable[[str], str]:
    check = _each_of(*choices)
    return lambda word: check([word])[0]


def _size(text: str) -> tuple[int, ...]:
    axes = tuple(int(axis) if axis.isdecimal() else 0 for axis in text.split("x"))
    if len(axes) != 4 or min(axes) < 1:
        raise typer.BadParameter(
            f"{text!r} is no batch x time steps x features x units: 32x100x64x128"
        )
    return axes


def bench(
    what: Annotated[
        list[str],
        typer.Option(
            help=f"What to measure: {', '.join(_EXPERIMENTS)} or all. Repeat for several.",
            callback=_each_of(*_EXPERIMENTS, "all"),
        ),
    ] = ["sizes"],  # noqa: B006 (typer copies it)
    long: Annotated[
        bool,
        typer.Option("--long", help="Everything, with every peer and both dtypes: 20 minutes."),
    ] = False,
    peer: Annotated[
        list[str],
        typer.Option(
            help="Only these. Repeat for several; an unknown name lists them all.",
            callback=_each_of(*(peer.name for peer in _bench.PEERS)),
        ),
    ] = [],  # noqa: B006
    mode: Annotated[
        list[str],
        typer.Option(help="inference, training.", callback=_each_of("inference", "training")),
    ] = ["inference", "training"],  # noqa: B006
    dtype: Annotated[
        list[str],
        typer.Option(help="float32, bfloat16.", callback=_each_of("float32", "bfloat16")),
    ] = ["float32"],  # noqa: B006
    size: Annotated[
        list[str],
        typer.Option(help="Batch x time steps x features x units, as 32x100x64x128."),
    ] = [],  # noqa: B006
    threads: Annotated[
        int | None, typer.Option(help="For everybody; all cores unless given.", min=1)
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(help="To spend on each comparison, about.", min=0.0)
    ] = None,
    engine: Annotated[
        str,
        typer.Option(
            help="conveyor's: native fails where it cannot run, instead of being slow.",
            callback=_one_of("native", "portable", "auto"),
        ),
    ] = "native",
    json: Annotated[Path | None, typer.Option(help="Write all that was measured.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Write a picture, .png or .svg.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write the tables.")] = None,
    again: Annotated[
        Path | None,
        typer.Option("--from", help="Measure nothing; show what --json wrote.", exists=True),
    ] = None,
) -> None:
    """Time conveyor beside the other LSTMs that are installed, on the same cores.

    Each framework has a process of its own, and only one computes at a time: they take
    short turns, so that all see the same machine. Two or three minutes on two cores.
    """
    console = Console()
    if again is not None:
        report = _bench.from_json(again.read_text(encoding="utf-8"))
    else:
        cores = _bench.usable_cores()
        if threads is not None and threads > cores:
            raise typer.BadParameter(f"--threads {threads}: this process may use {cores} cores")
        everything = long or "all" in what
        settings = _bench.Settings(
            what=_EXPERIMENTS if everything else tuple(what),
            threads=threads or cores,
            engine=engine,
            long=long,
            seconds=seconds if seconds is not None else (_LONG_SECONDS if long else _SHORT_SECONDS),
            peers=tuple(peer),
            modes=cast(Any, tuple(mode)),
            dtypes=cast(Any, ("float32", "bfloat16") if long else tuple(dtype)),
            sizes=cast(Any, tuple(map(_size, size))) or _bench.SIZES,
        )
        # Lines, not a spinner, which would take turns with those who are timed.
        progress = Console(stderr=True, style="dim", highlight=False)
        report = _bench.run(settings, progress.print)
    _bench.show(report, console)
    _write(report, json, plot, markdown)
    _fail_where_conveyor_did(report)


def _write(
    report: _bench.Report, json: Path | None, plot: Path | None, markdown: Path | None
) -> None:
    if json is not None:
        json.write_text(_bench.to_json(report), encoding="utf-8")
    if markdown is not None:
        markdown.write_text(_bench.to_markdown(report), encoding="utf-8")
    if plot is not None:
        from .bench import _plot

        _plot.write(report, plot)


def _fail_where_conveyor_did(report: _bench.Report) -> None:
    failed = [f for race in report.races for f in race.failures if f.peer.startswith("conveyor/")]
    if failed:
        raise ConveyorError(f"conveyor itself failed {len(failed)} times; the last table says why")
