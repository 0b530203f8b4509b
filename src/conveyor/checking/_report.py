"""What `conveyor.check` found, as values and as a table."""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..inspection._printed import Printed


@dataclass(frozen=True)
class CheckedPath:
    """One way to run the model.

    Attributes:
        path: what it is called.
        difference: the largest from what it is compared with, over all outputs, where values
            above 1 count relative to the largest of their output. None for the path that the
            others are compared with, and for one that did not run.
        milliseconds: the median of a few runs; None where it was not timed.
        note: what ran, or why this path does not exist for this model.
        failed: it exists, and did not run.
    """

    path: str
    difference: float | None
    milliseconds: float | None
    note: str
    failed: bool = False


@dataclass(frozen=True, repr=False)
class Check(Printed):
    """The paths of a model: print it, or let a notebook show it.

    Attributes:
        about: the model, the inputs and the backend.
        rows: the paths; the first is the model as it is.
        tolerance: how far a path may be from what it is compared with.
    """

    about: str
    rows: tuple[CheckedPath, ...]
    tolerance: float

    @property
    def ok(self) -> bool:
        """Whether every path that exists agrees."""
        return not any(map(self.disagrees, self.rows))

    def disagrees(self, row: CheckedPath) -> bool:
        """Whether a path is further away than the tolerance, NaN, or failed."""
        return row.failed or (row.difference is not None and not row.difference <= self.tolerance)

    def __rich__(self) -> RenderableType:
        table = Table(title=self.about, title_justify="left", title_style="bold")
        for name, justify in (("path", "left"), ("largest difference", "right"), ("ms", "right")):
            table.add_column(name, justify=justify)  # type: ignore[arg-type]
        table.add_column("note")
        for row in self.rows:
            table.add_row(
                row.path,
                _NOTHING if row.difference is None else f"{row.difference:.1e}",
                _NOTHING if row.milliseconds is None else _milliseconds(row.milliseconds),
                Text(row.note),
                style="red" if self.disagrees(row) else None,
            )
        return Group(table, Text(self._conclusion()))

    def _conclusion(self) -> str:
        apart = [row.path for row in self.rows if self.disagrees(row)]
        if apart:
            return f"Not within {self.tolerance:g}: {', '.join(apart)}."
        compared = sum(row.difference is not None for row in self.rows)
        return f"{compared} comparisons, all within {self.tolerance:g}."

    def __repr__(self) -> str:
        return str(self)


_NOTHING = "–"


def _milliseconds(value: float) -> str:
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"
