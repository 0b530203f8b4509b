"""One state of all units over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..._errors import lesson
from .._kinds import ALL_GATES, kind_in
from .._trace_arrays import over_time
from .._tree import masked_steps, one_layer, sample_of, select, variables, with_samples
from ._axes import axes, label_time, sentence, shade_masked, title
from ._heat_map import heat_map, label_units

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from xarray import Dataset, DataTree


def plot_states(
    layer: DataTree | Dataset,
    state: str | None = None,
    sample: int = 0,
    ax: Axes | None = None,
    units: Sequence[int] | None = None,
) -> Axes:
    """A heat map of one state: time to the right, a row for each unit.

    Args:
        layer: one layer of a trace, `trace["encoder"]`.
        state: a state with a time axis: `cell_states`, `hidden_states`, `input_gates`,
            `forget_gates`, `candidates`, `output_gates`, of a GRU `hidden_states`,
            `update_gates`, `reset_gates`, `candidates`, or a pre-activation. Without it the cell
            states, of a GRU the hidden states.
        sample: which sample, by its number in the trace.
        ax: where to draw; a new figure without.
        units: the units to show, in this order; all without.

    Returns:
        The Axes. Blue to orange around zero, and 0 to 1 in one hue for gates; masked steps are
        hatched, NaN and infinity black.

    Raises:
        ConveyorError: no such state, sample or unit in the trace; several layers.

    >>> import keras, numpy as np, conveyor
    >>> model = keras.Sequential([keras.Input((5, 3)), keras.layers.LSTM(4, name="reader")])
    >>> trace = conveyor.trace(model, np.ones((2, 5, 3), "float32"), tokens=["hello", "world"])
    >>> ax = plot_states(trace["reader"], "forget_gates", sample=1)
    >>> ax.get_title(loc="left")
    'Forget gates (reader, sample 1)'
    """
    where = "plot_states"
    path, dataset = one_layer(layer, where)
    state = kind_in(dataset).memory if state is None else state
    if not over_time(state):
        raise lesson(
            f"{where}(state=...)",
            "a state with a time axis",
            repr(state),
            f'Write state="{kind_in(dataset).memory}", or another that the trace has: '
            f"{_there(dataset)}.",
        )
    dataset = sample_of(dataset, sample, where)
    if units is not None:
        dataset = select(dataset, "unit", np.atleast_1d(units), where)
    (values,) = variables(with_samples(dataset), [state], where)
    (masked,) = masked_steps(with_samples(dataset))
    ax = axes(ax, where)
    is_gate = state in ALL_GATES and bool(np.all(~np.isfinite(values) | (abs(values - 0.5) <= 0.5)))
    label = state.replace("_", " ")
    notes = heat_map(ax, values[0], masked, gate=is_gate, label=label)
    label_units(ax, dataset["unit"].to_numpy())
    label_time(ax, dataset, [*shade_masked(ax, masked), *notes])
    title(ax, sentence(state), path, dataset)
    return ax


def _there(dataset: Dataset) -> str:
    return ", ".join(str(name) for name in dataset.data_vars if over_time(str(name)))
