"""Files of Keras models: read with errors that teach, written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from .._keras_files import load_model

ModelFile = Annotated[Path, typer.Argument(help="A model of Keras, as model.save wrote it.")]


def load(path: Path) -> Any:
    """The model, with its optimizer where it was compiled."""
    check_is_file(path, "a model", "model.save")
    return load_model(
        path,
        str(path),
        'Write model.save("model.keras"); layers of your own need '
        "@keras.saving.register_keras_serializable() and are loaded in Python: "
        "conveyor.explain(model).",
        compiled=True,
    )


def save(model: Any, path: Path) -> None:
    """Write a .keras file; one that is there already stays until the new one is complete."""
    part = path.with_name(f".{path.stem}.part.keras")
    try:
        model.save(part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def check_is_file(path: Path, what: str, how: str) -> None:
    """Refuse a path where there is no file."""
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}. It is to hold {what}, written by {how}.")
