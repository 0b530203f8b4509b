"""An explanation as HTML: a section a layer, for notebooks and for a page of its own."""

from __future__ import annotations

from html import escape

from ._cell_drawing import draw_cell
from ._flow import LayerFlow
from ._templates import fill
from ._time_drawing import draw_time_steps
from ._walkthrough import (
    about_units,
    keras_weights,
    memory_of_states,
    notes,
    parameter_sum,
    returned,
    walk,
)

# The circles of the drawings are filled with what is behind them: in JupyterLab, in VS Code, or
# on whatever page this is.
_PAPER = "var(--jp-layout-color0, var(--vscode-editor-background, Canvas))"


def sections(flows: tuple[LayerFlow, ...]) -> str:
    """A section a layer, the first one open."""
    return "".join(_section(flow, is_open=flow is flows[0]) for flow in flows)


def in_notebook(flows: tuple[LayerFlow, ...]) -> str:
    """The sections, with the background of the notebook."""
    return (
        f'<div class="conveyor-explanation" style="--conveyor-paper:{_PAPER}">'
        f"{sections(flows)}</div>"
    )


def page(flows: tuple[LayerFlow, ...], *, dark: bool | None) -> str:
    """A page that loads nothing; `dark` fixes its background, `None` leaves it to the reader."""
    names = [flow.name for flow in flows]
    title = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return fill(
        "explanation.html",
        scheme={None: "light dark", True: "dark", False: "light"}[dark],
        title=escape(title),
        sections=sections(flows),
    )


def _section(flow: LayerFlow, *, is_open: bool) -> str:
    rows = "".join(
        f"<tr><th scope=row style='text-align:left'>{escape(step.what)}</th>"
        f"<td style='text-align:left'>{escape(step.rule)}</td>"
        f"<td style='text-align:right'><code>{escape(step.shape)}</code></td>"
        f"<td style='text-align:left'>{escape(step.means)}</td></tr>"
        for step in walk(flow)
    )
    facts = (
        *(f"returned: {line}" for line in returned(flow)),
        f"parameters: {parameter_sum(flow)}",
        f"memory {memory_of_states(flow)[0]}",
        *memory_of_states(flow)[1:],
    )
    remarks = (about_units(flow), *notes(flow), keras_weights(flow))
    return (
        f"<details{' open' if is_open else ''}><summary><b>{escape(flow.name)}</b>: "
        f"<code>{escape(flow.class_name)}({flow.units})</code></summary>"
        f"{draw_cell(flow)}{draw_time_steps(flow)}<table>{rows}</table>"
        f"<p>{'<br>'.join(map(escape, facts))}</p>"
        f"<ul>{''.join(f'<li>{escape(remark)}</li>' for remark in remarks)}</ul></details>"
    )
