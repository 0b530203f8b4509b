"""Shows a worked example as a table that one can follow with a pencil."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from . import _worked_unit_rows
from ._worked_numbers import number, short
from ._worked_sum import Line, one_sum

if TYPE_CHECKING:
    from ._worked_example import WorkedExample
    from ._worked_gru import WorkedGRUExample

    Example: TypeAlias = WorkedExample | WorkedGRUExample

_SHOWN = 6  # units: what fits that width

# The order of the computation, and the letters of the articles.
_LETTERS = {
    "forget": ("f", "f"),
    "input": ("i", "i"),
    "candidate": ("g", "c"),
    "output": ("o", "o"),
}

_ONE_SUM = "One of the sums, z_f of unit 0; the others are made the same way."

Row = tuple[str, Any]  # what it is, and its numbers


def as_table(example: WorkedExample) -> RenderableType:
    """The whole of it, for rich."""
    if example.masked:
        return table(example, of_units(example), skipped(example, "the hidden state and the cell"))
    return table(example, of_units(example), _ONE_SUM, one_sum(example))


def table(
    example: Example, units: Iterable[Row], said: str, sums: Iterable[Line] = ()
) -> RenderableType:
    """What enters the step, one of its sums or why there is none, and the numbers of its units."""
    parts: list[RenderableType] = [_grid_of_vectors(read(example)), ""]
    if example.masked:
        parts += [Text(said)]
    else:
        parts += [Text(said, style="dim"), _grid_of_one_sum(sums)]
    flow = example.flow
    parts += ["", _grid_of_units(units, max(flow.units, flow.hidden_size))]
    notes = [] if example.masked else [*_worked_unit_rows.notes(flow)]
    parts += [Text(f"\n{line}", style="dim") for line in (*notes, *left_out(example))]
    return Panel(Group(*parts), title=Text(title(example)), title_align="left", padding=(1, 2))


def title(example: Example) -> str:
    flow = example.flow
    direction = "" if flow.direction == "forward" else ", backward"
    return (
        f"{flow.name}: {flow.class_name}({flow.units}){direction}, sample {example.sample}, "
        f"step {example.step} of 0 to {example.time_steps - 1}"
    )


def skipped(example: Example, states: str) -> str:
    return (
        f"Step {example.step} is masked: the layer skips it. Nothing is computed, and {states} "
        f"state{' stay as they were' if ' and ' in states else ' stays as it was'}."
    )


def read(example: Example) -> Iterator[Row]:
    """What enters the step, each as long as it is."""
    yield f"x_t ({example.flow.features},)", example.x
    yield f"h_{{t-1}} ({example.flow.hidden_size},)", example.hidden_state_before
    yield f"[h, x] ({example.flow.joined},)", example.joined


def of_units(example: WorkedExample) -> Iterator[Row]:
    """A row for each number of a unit, in the order of the computation."""
    yield "c_{t-1}", example.cell_state_before
    if example.masked:
        yield "c_t = c_{t-1}", example.cell_state
        yield "h_t = h_{t-1}", example.hidden_state
        return
    for gate, (symbol, letter) in _LETTERS.items():
        if gate == "output":
            yield from _worked_unit_rows.cell_state(example)
        if gate in example.preactivations:
            yield from _worked_unit_rows.preactivation(example, gate, letter)
            yield f"{symbol} = {function(example, gate)}(z_{letter})", example.gates[gate]
        else:
            yield "i = 1 - f", example.gates[gate]
    yield from _worked_unit_rows.hidden_state(example)


def left_out(example: Example) -> Iterator[str]:
    more = example.flow.units - _SHOWN
    if more > 0:
        yield (f"{more} more unit{'s' * (more > 1)}: .to_dict() has them all, and every digit.")


def function(example: Example, gate: str) -> str:
    """The name of its activation."""
    flow = example.flow
    return short(flow.activation if gate == "candidate" else flow.recurrent_activation)


def _cells(numbers: Any) -> list[str]:
    return [number(float(value)) for value in numbers[:_SHOWN]]


def _grid_of_vectors(vectors: Iterable[Row]) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    for _ in range(_SHOWN):
        grid.add_column(justify="right", no_wrap=True)
    grid.add_column(style="dim", no_wrap=True)
    for what, numbers in vectors:
        cells = _cells(numbers)
        grid.add_row(Text(what), *cells, *[""] * (_SHOWN - len(cells)), _how_many_more(numbers))
    return grid


def _grid_of_one_sum(sums: Iterable[Line]) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column()
    grid.add_column(justify="right", no_wrap=True)
    for what, how, result in sums:
        grid.add_row(Text(what), Text(how), f"= {result}")
    return grid


def _grid_of_units(rows: Iterable[Row], units: int) -> Table:
    units = min(units, _SHOWN)
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", overflow="fold")
    for _ in range(units):
        grid.add_column(justify="right", no_wrap=True)
    grid.add_row("", *(Text(f"unit {unit}", style="dim") for unit in range(units)))
    for what, numbers in rows:
        style = "cyan" if what.startswith(("c_t", "h_t")) else ""
        grid.add_row(Text(what), *(Text(cell, style=style) for cell in _cells(numbers)))
    return grid


def _how_many_more(numbers: Any) -> str:
    more = len(numbers) - _SHOWN
    return f"+ {more}" if more > 0 else ""
