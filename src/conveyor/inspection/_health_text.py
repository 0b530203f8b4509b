"""The health of a network as a table for a terminal and for a notebook."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape

import numpy as np
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ._health_numbers import LayerHealth
from ._tree import Floats

_HEAD = ("gate", "below 0.1", "above 0.9", "units always below", "units always above")
_FINE = "Nothing wrong was found: no NaN, no gates that are stuck, no dead units."


def as_table(layers: Mapping[str, LayerHealth]) -> RenderableType:
    """For rich: a table a layer, and the advice below it."""
    parts: list[RenderableType] = []
    for layer in layers.values():
        table = Table(title=_title(layer), title_justify="left", title_style="bold")
        for place, head in enumerate(_HEAD):
            table.add_column(head, justify="right" if place else "left")
        for row in _rows(layer):
            table.add_row(*row)
        parts += [table, *(Padding(Text(line), (0, 1)) for line in _facts(layer))]
        parts += [Padding(_bullet(line), (0, 1)) for line in layer.advice]
        parts.append("")
    return Group(*parts, *(Text(line) for line in _conclusion(layers)))


def as_html(layers: Mapping[str, LayerHealth]) -> str:
    """For a notebook."""
    return '<div class="conveyor-health">{}{}</div>'.format(
        "".join(_section(layer) for layer in layers.values()),
        "".join(f"<p>{escape(line)}</p>" for line in _conclusion(layers)),
    )


def _section(layer: LayerHealth) -> str:
    head = "".join(f"<th scope=col>{escape(cell)}</th>" for cell in _HEAD)
    rows = "".join(
        f"<tr><th scope=row style='text-align:left'>{escape(name)}</th>"
        + "".join(f"<td style='text-align:right'>{escape(cell)}</td>" for cell in cells)
        + "</tr>"
        for name, *cells in _rows(layer)
    )
    facts = "<br>".join(escape(line) for line in _facts(layer))
    advice = "".join(f"<li>{escape(line)}</li>" for line in layer.advice)
    return (
        f"<table><caption style='text-align:left'><b>{escape(_title(layer))}</b></caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
        f"<p>{facts}</p>" + (f"<ul>{advice}</ul>" if advice else "")
    )


def _title(layer: LayerHealth) -> str:
    name = f"{layer.path}: " if layer.path else ""
    return f"{name}{layer.class_name}, {len(layer.unit)} units, {layer.steps:,} steps"


def _rows(layer: LayerHealth) -> Iterator[tuple[str, ...]]:
    for gate, left in layer.left_saturated.items():
        right = layer.right_saturated[gate]
        always = (int(np.sum(left == 1)), int(np.sum(right == 1)))
        yield (gate.replace("_", " "), _percent(left), _percent(right), *map(str, always))


def _percent(shares: Floats) -> str:
    mean = float(np.mean(shares))
    return "NaN" if np.isnan(mean) else f"{mean:.1%}"


def _facts(layer: LayerHealth) -> Iterator[str]:
    lives = layer.half_life
    yield (
        f"half-life of memory: {_steps(np.median(lives))} (median), "
        f"from {lives.min():.3g} to {_steps(lives.max())}"
    )
    numbers = [str(number) for number in layer.unit[layer.dead]]
    yield f"dead units: {len(numbers) or 'none'}"


def _steps(count: float) -> str:
    return "for ever" if np.isinf(count) else f"{count:.3g} steps"


def _conclusion(layers: Mapping[str, LayerHealth]) -> Iterator[str]:
    if not any(layer.advice for layer in layers.values()):
        yield _FINE


def _bullet(line: str) -> RenderableType:
    grid = Table.grid(padding=(0, 1))
    grid.add_row("•", Text(line))
    return grid
