"""`conveyor accelerate`: a model file with conveyor's LSTM in place of Keras's."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .. import layers
from .._errors import lesson
from ._model_file import ModelFile, load, save


def accelerate(
    model: ModelFile,
    out: Annotated[Path, typer.Option("--out", "-o", help="The file to write, *.keras.")],
) -> None:
    """Put conveyor's LSTM in place of Keras's in a saved model.

    Prints what became of each recurrent layer, and why. Weights, names and the optimizer's state
    stay; the numbers are the same. The new file wants `import conveyor` before it is loaded.
    """
    if out.suffix != ".keras":
        raise lesson(
            "conveyor accelerate", "--out to name a .keras file", str(out), "Write -o fast.keras."
        )
    loaded = layers.accelerate(load(model))
    save(loaded, out)
    typer.echo(f"Written: {out}")
