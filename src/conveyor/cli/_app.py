"""The commands and their options; what they do is in a file each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from .. import __version__
from .._errors import ConveyorError
from . import (
    _accelerate,
    _bench,
    _chat,
    _check,
    _convert,
    _export,
    _inspect,
    _look,
    _train,
    _translate,
)

app = typer.Typer(
    name="conveyor",
    help="The LSTM of Keras, with every hidden state, cell state and gate at every time step.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"conveyor {__version__}")
        raise typer.Exit


@app.callback()
def _conveyor(
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=_version, is_eager=True),
    ] = False,
) -> None:
    pass


@app.command()
def demo(
    out: Annotated[
        Path, typer.Option(help="Folder for the model and the report; made if missing.")
    ] = Path("conveyor-demo"),
    seed: Annotated[int, typer.Option(help="Of the dates drawn and of the weights.")] = 0,
    max_minutes: Annotated[
        float,
        typer.Option(help="Train no longer than this; the schedule fits itself to it.", min=0.01),
    ] = 2.5,
    steps: Annotated[
        int | None, typer.Option(help="Train so many batches instead of the default.", min=1)
    ] = None,
) -> None:
    """Train two LSTMs to read dates in 40 languages, and look into them.

    An encoder LSTM reads "mardi 4 mars 2025", hands its hidden and cell state to a decoder
    LSTM, and that writes 2025-03-04. Takes a minute or two on two cores. Writes the
    model, dates.keras, and a page to look at, report.html.
    """
    from ._demo import run

    run(out, seed=seed, max_minutes=max_minutes, steps=steps, console=Console())


@app.command()
def info() -> None:
    """Show versions, engines and what this machine has."""
    from ._info import show

    show(Console())


for _command in (
    _train.train,
    _translate.translate,
    _chat.chat,
    _inspect.inspect,
    _translate.evaluate,
    _translate.score,
    _accelerate.accelerate,
    _check.check,
    _convert.convert,
    _export.export,
    _look.explain,
    _look.trace,
    _look.report,
    _bench.bench,
):
    app.command()(_command)


def main() -> None:
    """Run the command line; an error of the user's is a message, not a traceback."""
    try:
        app()
    except (ConveyorError, ImportError, OSError) as error:
        Console(stderr=True).print("Error:", str(error), style="red", markup=False, highlight=False)
        raise SystemExit(1) from None
