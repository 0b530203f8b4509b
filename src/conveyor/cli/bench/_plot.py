"""One picture: at each size, how many times as long as conveyor everybody takes."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..._errors import ConveyorError
from . import _compare
from ._job import MODES, Mode
from ._peers import BY_NAME
from ._report import Race, Report, Timing

_MARKERS = "oos^v<>DPX*hd"
_TICKS = (0.05, 0.1, 0.2, 0.5, 0.7, 1, 1.5, 2, 3, 5, 10, 20, 50, 100)


def write(report: Report, path: Path) -> None:
    """Write the picture; its kind is that of the name, such as .png or .svg."""
    if find_spec("matplotlib") is None:
        raise ConveyorError('--plot needs matplotlib.\nWrite pip install "conveyor[inspect]".')
    import matplotlib as mpl
    from matplotlib.figure import Figure

    races = {mode: [r for r in report.of("sizes") if _own(r, mode)] for mode in MODES}
    there = [mode for mode in MODES if races[mode]]
    if not there:
        raise ConveyorError("nothing to plot: the picture is of --what sizes in float32")
    figure = Figure(figsize=(6 * len(there) + 1.5, 5), layout="constrained")
    panels = figure.subplots(1, len(there), sharey=True, squeeze=False)[0]
    colors = mpl.color_sequences["tab20"]
    for panel, mode in zip(panels, there, strict=True):
        _draw(panel, races[mode], mode, colors)
    panels[0].invert_yaxis()  # they share it
    handles = {}
    for panel in panels:
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
            handles[label] = handle
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=5)
    about = f"{report.machine['processor']}, {report.settings['threads']} threads, float32"
    figure.suptitle(about, fontsize=10)
    figure.savefig(path, dpi=150)


def _own(race: Race, mode: Mode) -> Timing | None:
    return _compare.fastest(_compare.own_timings(race, mode, "float32"))


def _draw(panel: Any, races: list[Race], mode: Mode, colors: Any) -> None:
    names = list(BY_NAME)
    for number, name in enumerate(names):
        points = []
        for row, race in enumerate(races):
            own = _own(race, mode)
            assert own is not None  # such races were chosen
            points += [
                (t.median / own.median, row)
                for t in race.timings
                if t.peer == name and t.job.dtype == "float32"
            ]
        if points:
            panel.scatter(
                *zip(*points, strict=True),
                label=name,
                marker=_MARKERS[number % len(_MARKERS)],
                color=colors[number % len(colors)],
                zorder=3 if BY_NAME[name].own else 2,
            )
    panel.axvline(1, color="black", linewidth=0.8, zorder=1)
    panel.set_xscale("log")
    shortest, longest = panel.get_xlim()
    ticks = [tick for tick in _TICKS if shortest <= tick <= longest]
    panel.set_xticks(ticks, [f"{tick:g}" for tick in ticks], minor=False)
    panel.set_xticks([], minor=True)
    panel.set_yticks(range(len(races)), [race.timings[0].job.size for race in races])
    panel.grid(axis="x", linewidth=0.4, color="0.85")
    panel.set_title(mode)
    panel.set_xlabel("time, of conveyor's (fastest framework)")
