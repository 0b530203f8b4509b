"""The gates, the candidate and the memory of one unit over time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .._kinds import GRU_KIND, kind_in
from .._tree import masked_steps, one_layer, sample_of, select, variables, with_samples
from ._axes import COLOURS, FONT_SIZE, axes, label_time, shade_masked, title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from xarray import Dataset, DataTree

# Told apart without colour too.
_LINES = {
    "input_gates": "-",
    "forget_gates": (0, (5, 1.5)),
    "output_gates": (0, (1.5, 1.2)),
    "candidates": (0, (5, 1.5, 1, 1.5)),
    "cell_states": "-",
}
_LINES_OF_GRU = {
    "update_gates": (0, (5, 1.5)),
    "reset_gates": "-",
    "candidates": (0, (5, 1.5, 1, 1.5)),
    "hidden_states": "-",
}


def plot_gates(
    layer: DataTree | Dataset, unit: int = 0, sample: int = 0, ax: Axes | None = None
) -> Axes:
    """How one unit works: its three gates and its candidate, and its cell state behind them.

    Gates and candidate are on the left axis, the cell state on an axis of its own at the right;
    zero is at the same height on both. Of a GRU: two gates, the candidate, the hidden state.

    Args:
        layer: one layer of a trace, `trace["encoder"]`.
        unit: which unit, by its number in the trace.
        sample: which sample, by its number in the trace.
        ax: where to draw; a new figure without.

    Returns:
        The Axes of the gates. Masked steps are hatched.

    Raises:
        ConveyorError: no such sample or unit in the trace; a state is missing; several layers.

    >>> import keras, numpy as np, conveyor
    >>> model = keras.Sequential([keras.Input((5, 3)), keras.layers.LSTM(4, name="reader")])
    >>> trace = conveyor.trace(model, np.ones((2, 5, 3), "float32"))
    >>> ax = plot_gates(trace["reader"], unit=3)
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['input gate', 'forget gate', 'output gate', 'candidate', 'cell state']
    """
    where = "plot_gates"
    path, dataset = one_layer(layer, where)
    dataset = select(sample_of(dataset, sample, where), "unit", [unit], where)
    kind = kind_in(dataset)
    lines = _LINES_OF_GRU if kind is GRU_KIND else _LINES
    courses = variables(with_samples(dataset), lines, where)
    values = {name: course[0, :, 0] for name, course in zip(lines, courses, strict=True)}
    (masked,) = masked_steps(with_samples(dataset))
    ax = axes(ax, where)
    notes = shade_masked(ax, masked)
    right = ax.twinx()
    for name, course in values.items():
        on = right if name == kind.memory else ax
        on.plot(
            np.arange(len(course)),
            course,
            color=COLOURS[name],
            linestyle=lines[name],
            linewidth=(2.4 if on is right else 1.6) * (1 if len(course) <= 100 else 0.6),
            marker="o" if len(course) <= 60 else None,  # a step between two masked ones shows
            markersize=2.5,
            label=name.removesuffix("s").replace("_", " "),
        )
    *gates, memory = values.values()
    for axis, shown in ((ax, np.concatenate(gates)), (right, memory)):
        half = 1.08 * max(1.0, np.abs(shown[np.isfinite(shown)]).max(initial=0.0))
        axis.set_ylim(-half, half)
        axis.tick_params(axis="y", labelsize=FONT_SIZE)
    ax.axhline(0, color="black", linewidth=0.6, zorder=0.5, label="_zero")
    ax.set_ylabel("gates, candidate", fontsize=FONT_SIZE)
    right.set_ylabel(kind.last_memory.replace("_", " "), fontsize=FONT_SIZE)
    if any(not np.all(np.isfinite(course[~masked])) for course in values.values()):
        notes.append("(where a line breaks off: NaN or infinite)")
    _legend(ax, right)
    label_time(ax, dataset, notes)
    title(
        ax, f"Unit {unit}", path, dataset, pad=24.0 if _has_room(ax) else 40.0
    )  # the legend is between
    return ax


def _legend(ax: Any, right: Any) -> None:
    """Of both axes in a row above them, where no line and no token is."""
    handles = [line for axis in (ax, right) for line in axis.get_lines()]
    ax.legend(
        handles=[line for line in handles if not line.get_label().startswith("_")],
        loc="lower left",
        bbox_to_anchor=(-0.01, 0.99),
        ncols=5 if _has_room(ax) else 3,
        frameon=False,
        fontsize=FONT_SIZE,
        columnspacing=1.2,
    )


def _has_room(ax: Any) -> bool:
    """Whether the legend has room in one row."""
    return bool(ax.get_position().width * ax.figure.get_figwidth() > 5.2)
