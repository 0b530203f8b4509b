"""`conveyor check`: every path of a saved model, compared and timed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .. import checking
from ._look import read_arrays
from ._model_file import ModelFile, load


def check(
    model: ModelFile,
    data: Annotated[
        Path | None,
        typer.Option(
            help="A file of np.savez: the array x, or one for each input of the model by its "
            "name. Random inputs without it."
        ),
    ] = None,
    tolerance: Annotated[
        float | None,
        typer.Option(help="How far a path may be away: 1e-5, and 0.05 for models in 16 bits."),
    ] = None,
) -> None:
    """Run a saved model on every path that exists for it: do they agree, how fast are they?

    Both engines, float64, a mask against unpadded sequences, streaming, ONNX Runtime. Exits with
    1 where a path is further away than the tolerance.
    """
    x = None if data is None else read_arrays(data)[0]
    found = checking.check(load(model), x, tolerance=tolerance)
    if not found.ok:
        raise typer.Exit(1)
