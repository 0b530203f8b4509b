"""Files of Keras models: read with errors that teach, written whole or not at all."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Annotated, Any

import keras
import typer

from .._errors import lesson

ModelFile = Annotated[Path, typer.Argument(help="A model of Keras, as model.save wrote it.")]


def load(path: Path) -> Any:
    """The model, with its optimizer where it was compiled."""
    check_is_file(path, "a model", "model.save")
    try:
        with warnings.catch_warnings():
            # A model that was saved before it was trained: nobody trains here.
            warnings.filterwarnings("ignore", "Skipping variable loading for optimizer")
            return keras.saving.load_model(path)
    except (ValueError, TypeError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise lesson(
            str(path),
            "a model that Keras can load",
            f"one that it cannot: {reason}",
            'Write model.save("model.keras"); layers of your own need '
            "@keras.saving.register_keras_serializable() and are loaded in Python: "
            "conveyor.explain(model).",
        ) from error


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
