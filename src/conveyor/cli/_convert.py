"""`conveyor convert`: the weights of LSTMs and GRUs from one kind of file to another."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .. import convert as conversion


def convert(
    weights: Annotated[
        Path,
        typer.Argument(
            help="A file with the weights of LSTMs or GRUs: .pt or .pth (a state dict of PyTorch), "
            ".safetensors, .onnx, .keras."
        ),
    ],
    to: Annotated[Path, typer.Option(help="The file to write; its suffix says which kind.")],
    layout: Annotated[
        str | None,
        typer.Option(
            help="For .safetensors, how arrays are named and packed: keras, torch, onnx, flax, "
            "block or haste."
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            help="Which one, where there are several: a layer, a node, or what stands before "
            "weight_ih_l0."
        ),
    ] = None,
) -> None:
    """Convert the weights of LSTMs or GRUs, and run both sides on a random batch.

    Layers on top of each other and two directions stay together. Nothing is ever unpickled; a
    file that is not what it claims is refused.
    """
    conversion.save(weights, to, layout=layout, name=name)
    typer.echo(f"Written: {to}")
