"""Draws the time steps side by side: one cell used again and again, and what leaves it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from .._vocabulary import AnyStateName, has_time_axis
from ._flow import LayerFlow
from ._svg import BELT, GATE, MATHS, Drawing, arrow, belt, text, wire
from ._walkthrough import count_steps

_WIDTH, _HEIGHT = 780, 236
_PITCH = 140
_CELL_WIDTH, _CELL_TOP, _CELL_BOTTOM = 92, 78, 164
_BELT_Y, _HIDDEN_Y = 102, 142
_ALONE_Y = 132  # the belt of a GRU, which has nothing else
_SYMBOLS: dict[AnyStateName, str] = {
    "hidden_states": "h",
    "hidden_state": "h",
    "cell_states": "c",
    "cell_state": "c",
    "input_gates": "i",
    "forget_gates": "f",
    "candidates": "g",
    "output_gates": "o",
    "update_gates": "z",
    "reset_gates": "r",
}
_symbol = partial(text, family=MATHS, size=17, subscripts=True)


@dataclass(frozen=True)
class _Column:
    """One drawn time step: its number as text (`None`: left out here), and where it stands."""

    step: str | None
    x: float
    is_last: bool


def draw_time_steps(flow: LayerFlow) -> str:
    """The same cell at every time step as an SVG drawing; what the layer returns stands out.

    More than five steps are drawn as the first three and the last, in the order of reading: a
    layer that goes backwards begins with the last step.

    Returns:
        Text of one `<svg>` element, to be put into a page as it is.

    >>> import keras
    >>> from conveyor.inspection import describe
    >>> flow, = describe(keras.layers.LSTM(64), input_shape=(20, 32))
    >>> "20 time steps" in draw_time_steps(flow)
    True
    """
    return time_drawing(flow).inline()


def time_drawing(flow: LayerFlow) -> Drawing:
    """The same, to be put on a sheet with others."""
    steps = count_steps(flow)
    caption = f"{steps[0].upper()}{steps[1:]}, one cell, the same {flow.parameters:,} parameters"
    columns = tuple(_columns(flow))
    between = _ALONE_Y - 20 if flow.is_gru else (_BELT_Y + _HIDDEN_Y) / 2 + 6
    end = columns[-1].x + _CELL_WIDTH / 2
    strokes = (
        _along(flow, end),
        *(_cell(column, _returned_at(column, flow), between) for column in columns),
        text(
            20,
            _HEIGHT - 8,
            f"{caption} at each. Framed: what the layer returns.",
            anchor="start",
            opacity=0.75,
        ),
    )
    title = f"{steps} through one cell, {flow.direction}"
    return Drawing(_WIDTH, _HEIGHT, title, "".join(strokes))


def _along(flow: LayerFlow, end: float) -> str:
    """What goes from step to step: c on the belt and h below it; of a GRU h on the belt."""
    y = _ALONE_Y if flow.is_gru else _BELT_Y
    conveyor = belt(f"M20 {y}H{end + 26:g}") + arrow(end + 39, y, "right", BELT, size=14)
    if flow.is_gru:
        return conveyor
    return conveyor + wire(f"M20 {_HIDDEN_Y}H{end + 33:g}") + arrow(end + 39, _HIDDEN_Y, "right")


def _columns(flow: LayerFlow) -> Iterator[_Column]:
    total = flow.time_steps
    drawn: tuple[str | None, ...]
    if total is not None and total <= 5:
        drawn = tuple(str(step) for step in range(1, total + 1))
    else:
        last = "T" if total is None else str(total)
        drawn = ("1", "2", "3", None, last)
    if flow.direction == "backward":
        drawn = drawn[::-1]
    for place, step in enumerate(drawn):
        yield _Column(step, 94 + place * _PITCH, place == len(drawn) - 1)


def _returned_at(column: _Column, flow: LayerFlow) -> tuple[str, ...]:
    """The symbols of the states that the layer returns at this step, each once."""
    symbols = (
        _SYMBOLS[item.name] for item in flow.returned if column.is_last or has_time_axis(item.name)
    )
    return tuple(dict.fromkeys(symbols))


def _cell(column: _Column, returned: tuple[str, ...], y: float) -> str:
    """One time step, or at height y that some are left out."""
    x = column.x
    if column.step is None:
        return text(x, y, "· · ·", size=20, weight=700)
    return (
        f'<rect x="{x - _CELL_WIDTH / 2:g}" y="{_CELL_TOP}" width="{_CELL_WIDTH}" '
        f'height="{_CELL_BOTTOM - _CELL_TOP}" rx="12" fill="currentColor" fill-opacity=".05" '
        'stroke-opacity=".35"/>'
        + wire(f"M{x:g} {_CELL_BOTTOM + 40}V{_CELL_BOTTOM + 8}")
        + arrow(x, _CELL_BOTTOM + 2, "up")
        + _symbol(x + 12, _CELL_BOTTOM + 34, f"x_{{{column.step}}}", anchor="start")
        + _above(x, column.step, returned)
    )


def _above(x: float, step: str, returned: tuple[str, ...]) -> str:
    """What the layer hands out at this step; only h on its way to the next one otherwise."""
    if not returned:
        return _symbol(x, _CELL_TOP - 12, f"h_{{{step}}}", opacity=0.4)
    named = ", ".join(f"{symbol}_{{{step}}}" for symbol in returned)
    label = named if len(returned) <= 3 else f"{len(returned)} states"
    width = 24 + 22 * min(len(returned), 3) + 7 * (len(step) - 1) * min(len(returned), 3)
    return (
        wire(f"M{x:g} {_CELL_TOP}V54", GATE)
        + arrow(x, 46, "up", GATE)
        + f'<rect x="{x - width / 2:g}" y="10" width="{width}" height="30" rx="15" '
        f'fill="{GATE}" fill-opacity=".14" stroke="{GATE}"/>' + _symbol(x, 30, label)
    )
