"""What each step still holds in the memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .._kinds import kind_in
from .._memory import memory
from .._tree import Booleans, masked_steps, one_layer, sample_of, select, variables, with_samples
from ._axes import FONT_SIZE, axes, label_time, shade_masked, title
from ._heat_map import heat_map, label_units

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from xarray import Dataset, DataTree


def plot_memory(
    layer: DataTree | Dataset,
    sample: int = 0,
    ax: Axes | None = None,
    units: Sequence[int] | None = None,
) -> Axes:
    """A heat map of what each step still holds in the cell state of each unit, of a GRU in h.

    Args:
        layer: one layer of what `conveyor.memory` gives, or of a trace.
        sample: which sample, by its number in the trace.
        ax: where to draw; a new figure without.
        units: the units to show, in this order; all without.

    Returns:
        The Axes. Each row adds up to the state of its unit. Where the layer did not begin
        with zeros, a column "before" shows what the first state still holds.

    Raises:
        ConveyorError: as `conveyor.memory` does; no such sample or unit; several layers.

    >>> import keras, numpy as np, conveyor
    >>> model = keras.Sequential([keras.Input((5, 3)), keras.layers.LSTM(4, name="reader")])
    >>> trace = conveyor.trace(model, np.ones((2, 5, 3), "float32"))
    >>> ax = plot_memory(trace["reader"], sample=1)
    >>> ax.get_title(loc="left")
    'What the cell state after the last step holds of each step (reader, sample 1)'
    """
    where = "plot_memory"
    path, dataset = one_layer(layer, where)
    dataset = sample_of(dataset, sample, where)
    masked: Booleans = np.zeros(dataset.sizes["time"], bool)
    if "contribution" not in dataset.data_vars:
        (masked,) = masked_steps(with_samples(dataset))
        dataset = memory(dataset)
    if units is not None:
        dataset = select(dataset, "unit", np.atleast_1d(units), where)
    ((values,), (initial,)) = variables(with_samples(dataset), ["contribution", "initial"], where)
    values[masked] = np.nan  # zeros that would look as if a step had been read and forgotten
    ax = axes(ax, where)
    notes = shade_masked(ax, masked)
    began = bool(np.any(initial != 0))
    backward = dataset.attrs.get("direction") == "backward"
    if began:
        # Beside the step that was read first.
        values = np.concatenate([values, initial[None]] if backward else [initial[None], values])
        masked = np.append(masked, False) if backward else np.insert(masked, 0, False)
    first = -1 if began and not backward else 0
    notes += heat_map(ax, values, masked, gate=False, label="contribution", first=first)
    label_units(ax, dataset["unit"].to_numpy())
    label_time(ax, dataset, notes)
    if began:
        _mark_initial(ax, len(masked) - 1, backward=backward)
    step = dataset.attrs.get("at", "the last step")
    held = kind_in(dataset).last_memory.replace("_", " ")
    title(ax, f"What the {held} after {step} holds of each step", path, dataset)
    return ax


def _mark_initial(ax: Any, steps: int, *, backward: bool) -> None:
    """One more column, set apart from the steps by a line."""
    ax.set_xlim((-0.5, steps + 0.5) if backward else (-1.5, steps - 0.5))
    ax.axvline(steps - 0.5 if backward else -0.5, color="black", linewidth=1)
    # A minor tick: it has a label of its own, however many of the others have room.
    ax.set_xticks(
        [steps if backward else -1], ["before"], minor=True, rotation=90, fontsize=FONT_SIZE
    )
