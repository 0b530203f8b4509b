"""The strokes that the drawings share: wires, boxes, labels, as plain SVG text.

Ink follows `currentColor`, so a drawing reads on a light and on a dark page alike. The page may
set `--conveyor-belt` (the cell state), `--conveyor-gate` (what is learned) and
`--conveyor-paper` (the background, which hides the wire behind a circle).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import escape
from typing import Literal

INK = "currentColor"
BELT = "var(--conveyor-belt, #d9730d)"
GATE = "var(--conveyor-gate, #3b7dd8)"
PAPER = "var(--conveyor-paper, Canvas)"

SANS = "system-ui, 'Segoe UI', 'Noto Sans', sans-serif"
MONO = "ui-monospace, 'Cascadia Mono', 'DejaVu Sans Mono', monospace"
MATHS = "'STIX Two Text', 'Cambria Math', Georgia, 'DejaVu Serif', serif"

PEN = (
    'fill="none" stroke="currentColor" stroke-width="1.75" '
    'stroke-linecap="round" stroke-linejoin="round"'
)

Anchor = Literal["start", "middle", "end"]
Towards = Literal["left", "right", "up", "down"]


@dataclass(frozen=True)
class Drawing:
    """Strokes on a canvas of this size, and what they show, for those who cannot see them."""

    width: int
    height: int
    title: str
    strokes: str

    def inline(self) -> str:
        """One `<svg>` that scales with the column of the page that it is put into."""
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" '
            f'role="img" aria-label="{escape(self.title)}" {PEN} '
            f'style="display:block;width:100%;max-width:{self.width}px;height:auto;margin:auto">'
            f"{self.strokes}</svg>"
        )


def wire(path: str, color: str = INK) -> str:
    return f'<path d="{path}" stroke="{color}"/>'


def arrow(x: float, y: float, towards: Towards, color: str = INK, size: float = 7) -> str:
    """The head of an arrow whose tip is at (x, y)."""
    dx, dy = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}[towards]
    back_x, back_y = x - size * dx, y - size * dy
    side_x, side_y = 0.6 * size * dy, 0.6 * size * dx
    return (
        f'<path d="M{x:g} {y:g}L{back_x + side_x:g} {back_y + side_y:g}'
        f'L{back_x - side_x:g} {back_y - side_y:g}Z" fill="{color}" stroke="{color}"/>'
    )


def belt(path: str) -> str:
    """The conveyor belt: broad, with dots that a page may set in motion (class `belt`)."""
    return (
        f'<path d="{path}" stroke="{BELT}" stroke-width="10" stroke-linecap="butt"/>'
        f'<path class="belt" d="{path}" stroke="{PAPER}" stroke-width="2.5" '
        'stroke-dasharray="0 12"/>'
    )


def box_width(label: str) -> float:
    """Of a box with this label."""
    label = _fitting(label)
    return 60 if len(label) <= 6 else 6.9 * len(label) + 8


def _fitting(label: str) -> str:
    return label if len(label) <= 13 else f"{label[:12]}…"  # the next box is near


def box(x: float, y: float, label: str, *, height: float, rounded: bool = False) -> str:
    """A function of numbers, centred at (x, y): a box where it is learned, round where not."""
    label, width = _fitting(label), box_width(label)
    short = len(label) <= 6
    color, paint, opacity = (BELT, PAPER, 1) if rounded else (GATE, GATE, 0.14)
    return (
        f'<rect x="{x - width / 2:g}" y="{y - height / 2:g}" width="{width:g}" '
        f'height="{height:g}" rx="{height / 2 if rounded else 7:g}" fill="{paint}" '
        f'fill-opacity="{opacity:g}" stroke="{color}"/>'
        + text(
            x,
            y + 5,
            label,
            size=16 if short else 11.5,
            family=MATHS if short else SANS,
            color=BELT if rounded else INK,
        )
    )


def box_on_a_wire(x: float, y: float, label: str, height: int) -> str:
    """A box that hides the wire behind it."""
    paper = (
        f'<rect x="{x - 30:g}" y="{y - height / 2:g}" width="60" height="{height}" rx="7" '
        f'fill="{PAPER}" stroke="none"/>'
    )
    return paper + box(x, y, label, height=height)


def operation(x: float, y: float, sign: Literal["+", "x"]) -> str:
    """An operation number by number, in a circle centred at (x, y)."""
    cross = "m-5 0h10m-5-5v10" if sign == "+" else "m-4-4l8 8m0-8l-8 8"
    return (
        f'<circle cx="{x:g}" cy="{y:g}" r="12" fill="{PAPER}" stroke="{BELT}" '
        f'stroke-width="2.5"/><path d="M{x:g} {y:g}{cross}" stroke="{BELT}" stroke-width="2.5"/>'
    )


def text(
    x: float,
    y: float,
    content: str,
    *,
    size: float = 13,
    family: str = SANS,
    anchor: Anchor = "middle",
    weight: int = 400,
    opacity: float = 1,
    color: str = INK,
    subscripts: bool = False,
) -> str:
    """One line of text, escaped; with `subscripts`, as `h_{t-1}` and `W_f` have them."""
    body = _with_subscripts(content, size) if subscripts else escape(content)
    return (
        f'<text x="{x:g}" y="{y:g}" font-size="{size:g}" font-family="{family}" '
        f'font-weight="{weight}" text-anchor="{anchor}" fill="{color}" '
        f'fill-opacity="{opacity:g}" stroke="none">{body}</text>'
    )


def _with_subscripts(content: str, size: float) -> str:
    # SVG knows no subscripts: the line steps down for them, and up again for what follows.
    pieces = re.split(r"_\{(.*?)\}|_(\w)", content)
    line, step = escape(pieces[0]), f"{0.25 * size:g}"
    for braced, single, after in zip(pieces[1::3], pieces[2::3], pieces[3::3], strict=True):
        low = escape(braced or single)
        line += f'<tspan dy="{step}" font-size="{0.72 * size:g}">{low}</tspan>'
        line += f'<tspan dy="-{step}">{escape(after)}</tspan>' if after else ""
    return line
