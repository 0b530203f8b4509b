"""All drawings of a model on one sheet: an SVG file that reads wherever it is put.

The drawings inside a page take their colours from it (`_svg`). A file of its own has its own
background, and colours written out as attributes, which every program knows that shows SVG; a
style sheet exchanges them for a reader whose browser is dark.
"""

from __future__ import annotations

import re
import textwrap
from html import escape

from ._cell_drawing import cell_drawing
from ._flow import LayerFlow
from ._svg import BELT, GATE, INK, MONO, PAPER, PEN, SANS, text
from ._time_drawing import time_drawing
from ._walkthrough import from_shape_to_shape, in_one_line, notes

WIDTH = 780  # that of the drawings
_MARGIN = 20
_LINE = 100  # characters of size 13 between the margins
_HEADING = 62  # characters of size 17

# As those of the report.
_LIGHT = {INK: "#22242a", PAPER: "#ffffff", BELT: "#c9650a", GATE: "#2565b8"}
_DARK = {INK: "#e9e6df", PAPER: "#181b20", BELT: "#f0913a", GATE: "#6aa9f4"}

_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def draw_sheet(flows: tuple[LayerFlow, ...], *, dark: bool | None = None) -> str:
    """The cell and the time steps of each layer, one below the other, as the text of a file.

    Args:
        flows: what `describe` gives.
        dark: the background; `None` for the one that the reader's browser prefers.

    >>> import keras
    >>> from conveyor.inspection import describe
    >>> draw_sheet(describe(keras.layers.LSTM(64), input_shape=(20, 32)))[:4]
    '<svg'
    """
    strokes, height = "", 0.0
    for flow in flows:
        part, below = _layer(flow, height)
        strokes, height = strokes + part, below
    title = "; ".join(f"{flow.name}: {in_one_line(flow)}" for flow in flows)
    page = (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="conveyor-sheet" width="{WIDTH}" '
        f'height="{height:g}" viewBox="0 0 {WIDTH} {height:g}" role="img" '
        'style="max-width:100%;height:auto" '
        f'aria-label="{escape(title)}">{_style() if dark is None else ""}'
        f'<rect width="{WIDTH}" height="{height:g}" fill="{PAPER}"/>'
        f"<g {PEN}>{strokes}</g></svg>\n"
    )
    return _NOT_IN_XML.sub("\ufffd", _coloured(page, _DARK if dark else _LIGHT))


def _layer(flow: LayerFlow, top: float) -> tuple[str, float]:
    """The part of one layer from `top` on, and where it ends."""
    y = top + 34
    strokes = "" if top == 0 else f'<path d="M0 {top:g}H{WIDTH}" stroke-opacity=".2"/>'
    strokes += _heading(flow, y)
    lines = textwrap.wrap(from_shape_to_shape(flow), _LINE)
    if flow.merge_mode is not None and flow.direction == "backward":
        lines += textwrap.wrap(list(notes(flow))[-1], _LINE)
    for line in lines:
        y += 20
        strokes += text(_MARGIN, y, line, anchor="start", opacity=0.75)
    y += 6
    for drawing in (cell_drawing(flow), time_drawing(flow)):
        strokes += f'<g transform="translate(0 {y:g})">{drawing.strokes}</g>'
        y += drawing.height + 10
    return strokes, y + 10


def _heading(flow: LayerFlow, y: float) -> str:
    layer = f"{flow.class_name}({flow.units})"
    room = max(8, _HEADING - len(layer))
    name = flow.name if len(flow.name) <= room else f"…{flow.name[1 - room :]}"
    backward = "" if flow.direction == "forward" else ", backward"
    return (
        f'<text x="{_MARGIN}" y="{y:g}" font-size="17" font-family="{SANS}" fill="{INK}" '
        f'stroke="none"><tspan font-weight="700">{escape(name)}</tspan>: '
        f'<tspan font-family="{MONO}" font-size="15">{escape(layer)}</tspan>{backward}</text>'
    )


_PAINT = re.compile(
    f'(fill|stroke)="({"|".join(re.escape(color) for color in (INK, PAPER, BELT, GATE))})"'
)


def _coloured(page: str, colors: dict[str, str]) -> str:
    return _PAINT.sub(lambda paint: f'{paint[1]}="{colors[paint[2]]}"', page)


def _style() -> str:
    rules = "".join(
        f'.conveyor-sheet [{paint}="{light}"]{{{paint}:{_DARK[name]}}}'
        for name, light in _LIGHT.items()
        for paint in ("fill", "stroke")
    )
    return f"<style>@media (prefers-color-scheme:dark){{{rules}}}</style>"
