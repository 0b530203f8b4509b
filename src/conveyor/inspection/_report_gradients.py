"""The parts of the report about training: how far gradients reach, and what is not healthy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from .._errors import lesson
from ._health import Health
from ._health_text import as_html
from ._svg import BELT, GATE, Drawing, text

_WIDTH, _HEIGHT = 780, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 16, 44
# Below 1e-8 of the largest a gradient is nothing, whichever the dtype.
_DECADES = 8
_CURVES = (
    ("d_cell_states", "of the cell state", BELT, ""),
    ("d_hidden_states", "of the hidden state", GATE, ""),
    ("d_inputs", "of the input", "currentColor", "5 5"),
)


class LayerGradients(Protocol):
    """What the report reads of one layer in the result of `gradient_flow`."""

    d_hidden_states: npt.NDArray[Any]
    d_cell_states: npt.NDArray[Any]
    d_inputs: npt.NDArray[Any]
    memory_length: float
    verdict: str


def gradient_section(gradients: Any) -> str:
    """The section as HTML.

    Args:
        gradients: the result of `gradient_flow`, or its `.layers`: path to norms (T,) of the
            gradient of the loss by each state, `memory_length` in steps, and `verdict`.
    """
    if gradients is None:
        return ""
    layers: Mapping[str, LayerGradients] = getattr(gradients, "layers", gradients)
    if not isinstance(layers, Mapping):
        raise lesson(
            "report",
            "gradients from gradient_flow, or a dict from a layer's path to norms",
            f"{type(gradients).__name__}",
            "Write report(model, x, gradients=gradient_flow(model, x, y)).",
        )
    charts = "".join(_chart(path, layer) for path, layer in layers.items())
    return (
        '<section aria-labelledby="gradients"><h2 id="gradients">How far gradients reach</h2>'
        '<p class="lead">The size of the gradient of the loss at every step, on a logarithmic '
        "scale. Where a line falls steeply towards the steps that were read first, the layer "
        f"cannot learn from them.</p>{charts}</section>"
    )


def _chart(path: str, layer: LayerGradients) -> str:
    curves = [
        (np.asarray(getattr(layer, name), dtype=np.float64), label, color, dashes)
        for name, label, color, dashes in _CURVES
        if getattr(layer, name, None) is not None
    ]
    length = float(layer.memory_length)
    facts = [f"Memory of {length:.3g} steps."] if np.isfinite(length) else []
    if np.isposinf(length):
        facts = ["The memory reaches back beyond the first step."]
    said = " ".join([*facts, _sentence(layer.verdict), getattr(layer, "advice", "")]).strip()
    return (
        f'<article class="card"><h3>{escape(path)}</h3>'
        f"<p>{escape(said)}</p>"
        f'<div class="drawing">{_drawing(path, curves)}</div><p class="keys">{_keys(curves)}</p>'
        "</article>"
    )


def _sentence(text: str) -> str:
    """With a capital at its beginning and a full stop at its end."""
    return text[:1].upper() + text[1:] + "." * (not text.endswith((".", "!", "?")))


def _keys(curves: Sequence[tuple[npt.NDArray[Any], str, str, str]]) -> str:
    return "".join(
        f'<span><svg width="26" height="8" aria-hidden="true"><path d="M0 4H26" '
        f'stroke="{color}" stroke-width="2.5" stroke-dasharray="{dashes}"/></svg> {label}</span>'
        for _, label, color, dashes in curves
    )


def _drawing(path: str, curves: Sequence[tuple[npt.NDArray[Any], str, str, str]]) -> str:
    steps = max((len(values) for values, *_ in curves), default=1)
    largest = max((float(np.nanmax(values, initial=0)) for values, *_ in curves), default=0.0)
    if not np.isfinite(largest):
        words = text(20, 34, "not finite", anchor="start")
        return Drawing(_WIDTH, 60, f"gradients of {path}", words).inline()
    top = int(np.ceil(np.log10(largest))) if largest > 0 else 0
    smallest = [np.min(values[values > 0], initial=largest) for values, *_ in curves]
    least = int(np.floor(np.log10(min(smallest)))) if largest > 0 else -1
    foot = min(max(least, top - _DECADES), top - 1)

    def x(step: float) -> float:
        return _LEFT + (step + 0.5) * (_WIDTH - _LEFT - _RIGHT) / steps

    def y(exponent: float) -> float:
        return _TOP + (top - exponent) * (_HEIGHT - _TOP - _BOTTOM) / (top - foot)

    lines = "".join(
        f'<path d="M{_LEFT} {y(power):g}H{_WIDTH - _RIGHT}" stroke-opacity=".15" '
        f'stroke-width="1"/>{_power(y(power), power)}'
        for power in range(foot, top + 1, max(1, (top - foot) // 4))
    )
    numbered = sorted({*range(0, steps, max(1, round(steps / 8))), steps - 1})
    if len(numbered) > 2 and numbered[-1] - numbered[-2] < max(1, round(steps / 16)):
        del numbered[-2]
    ticks = "".join(
        text(x(step), _HEIGHT - 24, str(step + 1), size=12, opacity=0.75) for step in numbered
    )
    drawn = "".join(
        f'<polyline points="{_points(values, x, y, foot)}" stroke="{color}" stroke-width="2.5" '
        f'stroke-dasharray="{dashes}"/>'
        for values, _, color, dashes in curves
    )
    caption = text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 5, "time step", size=12, opacity=0.75)
    title = f"gradients of {path} over {steps} steps"
    return Drawing(_WIDTH, _HEIGHT, title, lines + ticks + caption + drawn).inline()


def _power(y: float, power: int) -> str:
    # text() has no superscripts; a tspan raised by hand.
    return (
        f'<text x="{_LEFT - 8}" y="{y + 4:g}" font-size="12" text-anchor="end" '
        'fill="currentColor" fill-opacity=".75" stroke="none" font-family="sans-serif">'
        f'10<tspan dy="-5" font-size="9">{str(power).replace("-", "−")}</tspan></text>'
    )


def _points(values: npt.NDArray[Any], x: Any, y: Any, foot: int) -> str:
    """Zero, and what is smaller than the foot of the scale, lies on it; NaN is left out."""
    return " ".join(
        f"{x(step):.1f},{y(max(foot, np.log10(value) if value > 0 else foot)):.1f}"
        for step, value in enumerate(values)
        if np.isfinite(value)
    )


def health_section(health: Any) -> str:
    """The section as HTML.

    Args:
        health: the result of `health`, or what is wrong with a layer by its path: a text, or a
            list of lines.
    """
    if health is None:
        return ""
    if isinstance(health, Health):
        parts = f'<div class="card">{as_html(health.layers)}</div>'
    elif isinstance(health, Mapping):
        parts = "".join(
            f'<article class="card"><h3>{escape(str(path))}</h3>{_advice(said)}</article>'
            for path, said in health.items()
        )
    else:
        raise lesson(
            "report",
            "what health(trace) gives, or a dict from a layer's path to lines of advice",
            type(health).__name__,
            'Write health=conveyor.health(tree), or health={"encoder": ["..."]}.',
        )
    return (
        '<section class="health" aria-labelledby="health"><h2 id="health">Health</h2>'
        '<p class="lead">Gates that never move, units that never speak, memory that does not '
        f"last.</p>{parts}</section>"
    )


def _advice(said: str | Sequence[str]) -> str:
    lines = said.splitlines() if isinstance(said, str) else [str(line) for line in said]
    if not lines:
        return "<p>Nothing wrong was found.</p>"
    return f'<ul class="notes">{"".join(f"<li>{escape(line)}</li>" for line in lines)}</ul>'
