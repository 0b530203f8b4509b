"""A model from the folder of its training, or from a file."""

from __future__ import annotations

from pathlib import Path

from .._errors import lesson
from .._keras_files import load_model as keras_model
from ._folder import Folder
from ._model import Seq2Seq

_WHERE = "Translator.load"


def load_model(path: str | Path) -> Seq2Seq:
    """The model in a folder that `conveyor train` made, or in a `.keras` file.

    Raises:
        ConveyorError: there is none, or half a one, or another kind of model.
    """
    file = _file(Path(path))
    model = keras_model(
        file, f"{_WHERE}: {file}", f"Copy {file} once more from where it came from."
    )
    if not isinstance(model, Seq2Seq):
        raise lesson(
            _WHERE,
            "a conveyor.seq2seq.Seq2Seq",
            f"{file}, a {type(model).__name__}",
            f'Write keras.saving.load_model("{file}").',
        )
    return model


def _file(path: Path) -> Path:
    if path.is_file():
        return path
    folder = Folder(path)
    if folder.model.is_file():
        return folder.model
    expected = "a folder that conveyor train made, or a .keras file"
    train = f"Write conveyor train pairs.tsv --out {path}."
    if not path.exists():
        near = sorted(each.parent.name for each in path.parent.glob("*/model.keras"))
        hint = f"In {path.parent} there is {', '.join(near[:5])}." if near else train
        raise lesson(_WHERE, expected, f"{path}, which does not exist", hint)
    if folder.training.exists() or folder.checkpoint.exists():
        raise lesson(
            _WHERE,
            expected,
            f"{path}, where a training has begun and not yet written a model",
            f"Write conveyor train --resume {path}.",
        )
    there = ", ".join(sorted(each.name for each in path.iterdir())[:5]) or "nothing"
    raise lesson(_WHERE, expected, f"{path}, in which there is no model.keras, but {there}", train)
