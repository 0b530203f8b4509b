"""What all plots share: the Axes, the labels along the time axis, the steps that do not count."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..._errors import lesson
from .._characters import visible
from .._extras import extra
from .._tree import Booleans

if TYPE_CHECKING:
    from xarray import Dataset

FONT_SIZE = 8.5
_LETTER, _LINE = 0.085, 0.15  # inches that a character and a line of that size take

# Okabe & Ito 2008, "Color Universal Design": told apart by every kind of colour blindness.
COLOURS = {
    "input_gates": "#0072B2",
    "forget_gates": "#D55E00",
    "output_gates": "#009E73",
    "candidates": "#B65F93",
    "cell_states": "#000000",
    "update_gates": "#D55E00",
    "reset_gates": "#0072B2",
    "hidden_states": "#000000",
}
GREY = "#dedede"


def axes(ax: Any, where: str, size: tuple[float, float] = (8.0, 4.0)) -> Any:
    """The user's Axes, or one in a new Figure of this size in inches."""
    pyplot = extra("matplotlib.pyplot", where)
    if ax is None:
        return pyplot.subplots(figsize=size, layout="constrained")[1]
    if not hasattr(ax, "set_xlabel"):
        raise lesson(
            where,
            "ax, one Axes of matplotlib",
            type(ax).__name__,
            "Write fig, ax = matplotlib.pyplot.subplots(), and pass ax=ax; of several, one: "
            "ax=axes[0].",
        )
    return ax


def label_time(ax: Any, layer: Dataset, notes: Sequence[str] = ()) -> None:
    """Tokens, timestamps or numbers along the x axis, step k of the trace at x = k.

    Args:
        ax: the Axes.
        layer: one sample of a layer.
        notes: what hatching and colours beside the scale mean.
    """
    steps = layer.sizes["time"]
    if "token" in layer.coords:
        tokens = [str(token) for token in layer["token"].to_numpy()]
        label_steps(ax, [visible(token) if token else "" for token in tokens], every=True)
    else:
        label_steps(ax, _times(layer["time"].to_numpy()), every=False)
    ax.set_xlim(-0.5, max(steps, 1) - 0.5)
    axis = "time" if layer["time"].dtype.kind == "M" else "time step"
    ax.set_xlabel("".join([axis, *(f"   {note}" for note in notes)]), fontsize=FONT_SIZE)


def label_steps(ax: Any, labels: Sequence[str], *, every: bool, first: int = 0) -> None:
    """A label at each step from x = `first` on, or at as many as have room."""
    longest = max(map(len, labels), default=1)
    inches = ax.get_position().width * ax.figure.get_figwidth()
    room = inches / max(len(labels), 1)
    flat = longest * _LETTER + 0.06
    turned = flat > max(room, _LINE) if every else flat > inches / 6
    needed = _LINE if turned else flat
    # Numbers say themselves which are left out, and read better with air between them.
    thin = round_step(int(np.ceil(max(needed / room, 0 if every else len(labels) / 10))))
    places = [place for place in range(0, len(labels), max(1, thin)) if labels[place]]
    ax.set_xticks(
        [first + place for place in places],
        [labels[place] for place in places],
        rotation=90 if turned else 0,
        fontsize=FONT_SIZE,
        parse_math=False,  # a dollar sign in a text is one
    )


def round_step(count: int) -> int:
    """The next of 1, 2, 5, 10, 20, 50, ..."""
    size = 1
    while True:
        for step in (1, 2, 5):
            if step * size >= count:
                return step * size
        size *= 10


def _times(times: npt.NDArray[Any]) -> list[str]:
    if times.dtype.kind == "M":
        days = times.astype("datetime64[D]")
        return [str(day) for day in (days if (days == times).all() else times.astype("M8[s]"))]
    if times.dtype.kind == "f":
        return [f"{time:g}" for time in times]
    return [str(time) for time in times]


def shade_masked(ax: Any, masked: Booleans) -> list[str]:
    """Hatch the steps that do not count; the note that says so, where there are some."""
    edges = np.flatnonzero(np.diff(np.pad(masked.astype(int), 1)))
    for start, stop in edges.reshape(-1, 2):
        ax.axvspan(
            start - 0.5, stop - 0.5, facecolor=GREY, edgecolor="white", hatch="///", lw=0, zorder=0
        )
    return ["(hatched: masked)"] if masked.any() else []


def title(ax: Any, what: str, path: str, layer: Dataset, pad: float = 6.0) -> None:
    """What is shown, then the layer and the sample, so many points above the Axes."""
    of = [path] if path else []
    if "sample" in layer.coords:
        of.append(f"sample {layer['sample'].item()}")
    if layer.attrs.get("direction") == "backward":
        of.append("reads backward")
    text = f"{what} ({', '.join(of)})" if of else what
    ax.set_title(text, loc="left", fontsize=10, pad=pad, parse_math=False)


def sentence(name: str) -> str:
    """cell_states to "Cell states"."""
    return name.replace("_", " ").capitalize()
