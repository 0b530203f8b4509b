"""`conveyor export`: a saved model as ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .. import onnx
from ._model_file import ModelFile, load


def export(
    model: ModelFile,
    out: Annotated[Path, typer.Option("--out", "-o", help="The file to write, *.onnx.")],
    opset: Annotated[int, typer.Option(help="Of the operators, 14 or newer.", min=14)] = 17,
    states: Annotated[
        bool,
        typer.Option(
            "--states", help="States of the LSTMs as inputs and outputs, to feed it chunks."
        ),
    ] = False,
) -> None:
    """Write a saved model as ONNX: one LSTM node a layer, batch and time steps free.

    Checked, run in ONNX Runtime and compared with the model before the file is put in its place.
    """
    onnx.export(load(model), out, opset=opset, states=states)
