"""How far back in time the gradient of a loss reaches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..._errors import lesson
from .._gradient_flow import GradientFlow, LayerGradientFlow
from ._axes import COLOURS, FONT_SIZE, axes, label_steps

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LINES = (
    ("d_cell_states", "dL/dc, cell state", COLOURS["cell_states"], "-"),
    ("d_hidden_states", "dL/dh, hidden state", COLOURS["input_gates"], (0, (5, 1.5))),
    ("d_inputs", "dL/dx, input", COLOURS["forget_gates"], (0, (1.5, 1.2))),
)


def plot_gradient_flow(
    flow: GradientFlow | LayerGradientFlow, layer: str | None = None, ax: Axes | None = None
) -> Axes:
    """The norms of the gradients at each step, on a logarithmic axis.

    A straight line downwards, away from the step where the loss is, is a gradient that vanishes.

    Args:
        flow: what `conveyor.gradient_flow` gives, or one layer of it.
        layer: the path of the layer, where there are several.
        ax: where to draw; a new figure without.

    Returns:
        The Axes. Steps are those of the user's sequence, also where the layer goes backwards.
        Masked steps and NaN are left out (the verdict, which is the title, tells of NaN); a
        gradient of exactly 0 is a triangle at the foot, an infinite one a cross at the top.

    Raises:
        ConveyorError: no such layer, or several and none named.

    >>> import keras, numpy as np, conveyor
    >>> model = keras.Sequential([keras.Input((8, 3)), keras.layers.LSTM(4, name="reader")])
    >>> x, y = np.ones((2, 8, 3), "float32"), np.zeros((2, 4), "float32")
    >>> ax = plot_gradient_flow(conveyor.inspection.gradient_flow(model, x, y, loss="mse"))
    >>> ax.get_yscale()
    'log'
    """
    path, found = _one(flow, layer)
    ax = axes(ax, "plot_gradient_flow")
    steps = np.arange(len(found.d_hidden_states))
    ax.set_yscale("log")
    for name, label, colour, style in _LINES:
        if getattr(found, name) is None:  # a GRU has no cell state
            continue
        norms = np.asarray(getattr(found, name), float)
        ax.plot(
            steps,
            np.where(np.isfinite(norms) & (norms > 0), norms, np.nan),
            color=colour,
            linestyle=style,
            linewidth=1.8,
            marker="o" if len(steps) <= 60 else None,
            markersize=3,
            label=label,
        )
        _at_the_edge(ax, steps[norms == 0], 0.0, "v", colour)
        _at_the_edge(ax, steps[np.isposinf(norms)], 1.0, "x", colour)
    label_steps(ax, [str(step) for step in steps], every=False)
    ax.set_xlim(-0.5, max(len(steps), 1) - 0.5)
    ax.set_xlabel("time step", fontsize=FONT_SIZE)
    ax.set_ylabel("norm of the gradient, mean of samples", fontsize=FONT_SIZE)
    ax.tick_params(axis="y", labelsize=FONT_SIZE)
    ax.grid(axis="y", color="0.9", linewidth=0.6)
    ax.legend(loc="best", frameon=False, fontsize=FONT_SIZE)
    # The verdict is a sentence: it may be wider than the Axes.
    ax.set_title(
        f"Gradient flow ({path}): {found.verdict}",
        loc="left",
        fontsize=10,
        parse_math=False,
        wrap=True,
    )
    return ax


def _at_the_edge(ax: Any, steps: Any, height: float, marker: str, colour: str) -> None:
    """What a logarithmic axis has no place for, at its foot or at its top."""
    if len(steps):
        ax.plot(
            steps,
            np.full(len(steps), height),
            linestyle="none",
            marker=marker,
            color=colour,
            clip_on=False,
            transform=ax.get_xaxis_transform(),
            label="_edge",
        )


def _one(flow: Any, layer: str | None) -> tuple[str, Any]:
    if hasattr(flow, "d_cell_states"):
        return str(getattr(flow, "path", layer or "LSTM")), flow
    layers = getattr(flow, "layers", None)
    if not layers:
        raise lesson(
            "plot_gradient_flow",
            "what conveyor.gradient_flow gives",
            type(flow).__name__,
            "Write plot_gradient_flow(conveyor.gradient_flow(model, x, y)).",
        )
    if layer is None and len(layers) == 1:
        layer = next(iter(layers))
    if layer not in layers:
        raise lesson(
            "plot_gradient_flow",
            f"the path of one layer: {', '.join(layers)}",
            repr(layer),
            f'Write plot_gradient_flow(flow, layer="{next(iter(layers))}").',
        )
    return str(layer), layers[layer]
