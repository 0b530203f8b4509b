"""The part of the report about the model: its layers side by side, then the inside of each."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from ..layers._find import Shape
from ._cell_drawing import draw_cell
from ._flow import LayerFlow
from ._templates import fill
from ._time_drawing import draw_time_steps
from ._walkthrough import about_units, keras_weights, notes, parameter_sum

_AXES: dict[int, tuple[str, ...]] = {2: ("batch", "units"), 3: ("batch", "time_steps", "units")}


def flow_section(flows: tuple[LayerFlow, ...], handed_on: Mapping[str, str]) -> str:
    """The section as HTML; nothing for a report without layers."""
    if not flows:
        return ""
    lanes = "".join(_lane(flow) + _handed_on(handed_on.get(flow.name)) for flow in flows)
    insides = "".join(_inside(flow, is_open=flow is flows[0]) for flow in flows)
    return (
        '<section aria-labelledby="flow"><h2 id="flow">How the data flows</h2>'
        f'<p class="lead">Every {_kinds(flows)} takes '
        "<code>(batch, time_steps, features)</code>. "
        "What it gives back depends on what it was asked for.</p>"
        f'<div class="lanes">{lanes}</div>{insides}</section>'
    )


def _kinds(flows: tuple[LayerFlow, ...]) -> str:
    return " and ".join(sorted({"GRU" if flow.is_gru else "LSTM" for flow in flows}, reverse=True))


def _lane(flow: LayerFlow) -> str:
    given = _shape((None, flow.time_steps, flow.features), ("batch", "time_steps", "features"))
    made = "".join(
        f'<div class="made"><span class="state">{escape(item.name)}</span>'
        f"{_shape(item.shape, _AXES[len(item.shape)])}"
        f'<span class="because">{escape(item.because)}</span></div>'
        for item in flow.returned
    )
    way = {"forward": "reads first to last", "backward": "reads last to first"}[flow.direction]
    return (
        f'<div class="lane"><div class="given">{given}</div>'
        f'<div class="layer"><b>{escape(flow.name)}</b>'
        f"<code>{escape(flow.class_name)}({flow.units})</code>"
        f"<span>{way}</span><span>{flow.parameters:,} parameters</span></div>"
        f'<div class="all-made">{made}</div></div>'
    )


def _handed_on(what: str | None) -> str:
    return "" if what is None else f'<p class="handed-on">{escape(what)}</p>'


def _shape(shape: Shape, axes: tuple[str, ...]) -> str:
    """A shape as a row of cells, each number above the name of its axis."""
    cells = "".join(
        f"<span><b>{'any' if size is None else size}</b><i>{axis}</i></span>"
        for size, axis in zip(shape, axes, strict=True)
    )
    return f'<span class="shape">{cells}</span>'


def _inside(flow: LayerFlow, *, is_open: bool) -> str:
    remarks = (about_units(flow), *notes(flow), keras_weights(flow))
    states, each = ("h", "each gate") if flow.is_gru else ("h and c", "each")
    return fill(
        "layer.html",
        open=" open" if is_open else "",
        name=escape(flow.name),
        hint=escape(f"{states} ({flow.units},), x ({flow.features},), [h, x] ({flow.joined},)"),
        memory="hidden state" if flow.is_gru else "cell state",
        cell=draw_cell(flow),
        arithmetic=escape(f"{flow.units} + {flow.features} = {flow.joined} numbers enter {each}."),
        steps=draw_time_steps(flow),
        parameters=escape(parameter_sum(flow)),
        notes="".join(f"<li>{escape(remark)}</li>" for remark in remarks),
    )
