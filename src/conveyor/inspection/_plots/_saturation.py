"""How often each gate of each unit stands at 0 and at 1."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._health import Health, health
from .._health_numbers import LayerHealth
from ._axes import COLOURS, FONT_SIZE, axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from xarray import Dataset, DataTree

_MARKERS = {
    "input_gates": "o",
    "forget_gates": "s",
    "output_gates": "^",
    "update_gates": "s",
    "reset_gates": "o",
}


def plot_saturation(
    found: Health | LayerHealth | DataTree | Dataset,
    layer: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Each gate of each unit by how often it is shut (below 0.1) and how often open (above 0.9).

    At the lower left the gate moves; at the ends of the axes it is stuck, shut or open; on the
    diagonal it is a switch, always at one of both.

    Args:
        found: what `conveyor.health` gives, or a trace.
        layer: the path of the layer, where there are several.
        ax: where to draw; a new figure without.

    Returns:
        The Axes, with a set of points for each gate.

    Raises:
        ConveyorError: as `conveyor.health` does; several layers and none named.

    The figure is that of Karpathy, Johnson & Fei-Fei 2015, "Visualizing and Understanding
    Recurrent Networks", section 4.2.

    >>> import keras, numpy as np, conveyor
    >>> model = keras.Sequential([keras.Input((5, 3)), keras.layers.LSTM(4, name="reader")])
    >>> trace = conveyor.trace(model, np.ones((2, 5, 3), "float32"))
    >>> ax = plot_saturation(trace["reader"])
    >>> ax.get_xlabel()
    'share of steps below 0.1 (shut)'
    """
    numbers = _numbers(found, layer)
    ax = axes(ax, "plot_saturation", (5.2, 5.0))
    ax.plot([0, 1], [1, 0], color="0.6", linewidth=0.8, zorder=0)
    for gate in numbers.left_saturated:
        ax.scatter(
            numbers.left_saturated[gate],
            numbers.right_saturated[gate],
            s=34,
            marker=_MARKERS[gate],
            facecolor=COLOURS[gate],
            edgecolor="white",
            linewidth=0.5,
            alpha=0.75,
            label=gate.replace("_", " "),
            clip_on=False,  # many stand exactly at 0
        )
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1)
    ax.set_aspect("equal")
    ax.set_xlabel("share of steps below 0.1 (shut)", fontsize=FONT_SIZE)
    ax.set_ylabel("share of steps above 0.9 (open)", fontsize=FONT_SIZE)
    ax.tick_params(labelsize=FONT_SIZE)
    ax.legend(loc="upper right", frameon=False, fontsize=FONT_SIZE)
    name = f"Saturated gates ({numbers.path})" if numbers.path else "Saturated gates"
    ax.set_title(name, loc="left", fontsize=10, parse_math=False)
    return ax


def _numbers(found: Any, layer: str | None) -> LayerHealth:
    if isinstance(found, LayerHealth):
        return found
    return (found if isinstance(found, Health) else health(found)).layer(layer)
