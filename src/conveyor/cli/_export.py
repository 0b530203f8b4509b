"""`conveyor export`: a saved model, or a translator, as ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .. import onnx
from .._errors import lesson
from ..seq2seq import Seq2Seq, Translator
from ._model_file import load


def export(
    model: Annotated[
        Path,
        typer.Argument(help="A model that model.save wrote, or a folder that conveyor train made."),
    ],
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="The file to write, *.onnx; of a translator a folder."),
    ],
    opset: Annotated[int, typer.Option(help="Of the operators, 14 or newer.", min=14)] = 17,
    states: Annotated[
        bool,
        typer.Option(
            "--states", help="States of LSTMs and GRUs as inputs and outputs, to feed it chunks."
        ),
    ] = False,
) -> None:
    """Write a model as ONNX: one LSTM or GRU node a layer, batch and time steps free.

    Of a translator the encoder, a step of the decoder, and a script that translates with them.
    Checked, run in ONNX Runtime and compared with the model before anything is put in its place.
    """
    loaded = Translator.load(model).models[0] if model.is_dir() else load(model)
    if not isinstance(loaded, Seq2Seq):
        onnx.export(loaded, out, opset=opset, states=states)
        return
    if states or out.suffix == ".onnx":
        raise lesson(
            "conveyor export",
            "a folder for a translator, whose step has its states as inputs anyhow",
            f"{'--states ' if states else ''}-o {out}",
            f"Write conveyor export {model} -o {out.with_suffix('')}.",
        )
    onnx.export_translator(loaded, out, opset=opset)
