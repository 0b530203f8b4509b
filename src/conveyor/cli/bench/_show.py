"""A report for a terminal, and as Markdown."""

from __future__ import annotations

from rich.console import Console

from . import _more_tables, _tables
from ._report import Report
from ._tables import Table

# A machine at rest gives the same limits twice, to a few percent.
_QUIET = 0.85

# In this order: the answer first.
_ALL = (
    _tables.limits,
    _tables.sizes,
    _tables.summary,
    _more_tables.outputs,
    _more_tables.masks,
    _more_tables.odd,
    _more_tables.stream,
    _more_tables.streamed_variants,
    _more_tables.scaling,
    _more_tables.fit,
    _more_tables.variants,
    _more_tables.memory,
    _tables.failures,
)


def tables(report: Report) -> list[Table]:
    """All that the report has something for."""
    return [table for make in _ALL for table in make(report)]


def show(report: Report, console: Console) -> None:
    """Print it."""
    console.print(about(report), style="dim", markup=False, highlight=False)
    for table in tables(report):
        console.print()
        console.print(table.to_rich())


def to_markdown(report: Report) -> str:
    """The same for docs."""
    return "\n".join([about(report) + "\n", *(table.to_markdown() for table in tables(report))])


def about(report: Report) -> str:
    """Machine, versions, settings, and whether the machine was at rest."""
    machine = ", ".join((*report.machine.values(), f"{report.settings['threads']} threads"))
    versions = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    steadiness = report.settings["steadiness"]
    quiet = (
        ""
        if steadiness > _QUIET
        else (
            f"\nThe machine was busy with something else: its own limits changed by "
            f"{1 - steadiness:.0%} meanwhile. Do not trust these figures."
        )
    )
    engine = f"{report.settings['engine']} engine, {report.settings['target']} instructions"
    return f"{machine}.\n{versions}.\n{engine}, {report.settings['date']}.{quiet}"
