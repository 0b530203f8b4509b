"""Everything that a training needs to go on, in one file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import keras
import numpy as np
from numpy.typing import NDArray

from .._archives import check_size
from .._errors import lesson
from ._files import replacing

# Of the meaning of the file's contents; another one is refused.
FORMAT: Final = 1

_STATE = "state.json"
_PATTERN = "step-*.npz"


class Checkpoint(NamedTuple):
    """What is in a file: arrays by name, and the rest as JSON has it."""

    arrays: dict[str, NDArray[Any]]
    state: dict[str, Any]


def write_checkpoint(
    folder: Path, step: int, arrays: Mapping[str, NDArray[Any]], state: Mapping[str, Any]
) -> None:
    """Write a file for this step, then delete those before it.

    At every moment a whole checkpoint is in the folder.

    Raises:
        OSError: the file could not be written; the one before is still there.
    """
    folder.mkdir(exist_ok=True)
    path = folder / f"step-{step:09d}.npz"
    text = json.dumps({"format": FORMAT, **state}).encode()
    with replacing(path) as part, part.open("wb") as file:
        # A zip archive: it has a checksum of each array. Arrays of numbers only: no pickle.
        np.savez(file, allow_pickle=False, **{_STATE: np.frombuffer(text, np.uint8), **arrays})
        file.flush()
    for other in folder.iterdir():
        if other != path:
            other.unlink()


def read_checkpoint(folder: Path, where: str) -> Checkpoint | None:
    """The latest checkpoint of a folder; None where there is none.

    Raises:
        ConveyorError: a damaged file, or one of another version of conveyor.
    """
    for path in sorted(folder.glob(_PATTERN), reverse=True):
        try:
            check_size(path)
            with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            state = dict(json.loads(arrays.pop(_STATE).tobytes()))
        except Exception as error:  # of the disk, zip, NumPy and JSON
            raise lesson(
                where,
                "a checkpoint as it was written",
                f"{path}, which is damaged ({error})",
                "Copy it anew from where it came from; or use model.keras beside its folder, "
                "the best model so far: it is whole.",
            ) from None
        if state.get("format") != FORMAT:
            raise lesson(
                where,
                f"a checkpoint of format {FORMAT}, as this version of conveyor writes it",
                f"{path} of format {state.get('format')!r}",
                "Resume it with the version of conveyor that training.json names; "
                "model.keras beside its folder can be used with any.",
            )
        return Checkpoint(arrays, state)
    return None


def values_of(variables: Sequence[Any], prefix: str) -> dict[str, NDArray[Any]]:
    """The value of each variable, copied, by its place.

    Not by its path: Keras numbers the names of what is made a second time in one process.
    """
    return {
        f"{prefix}/{place}": np.array(keras.ops.convert_to_numpy(variable))
        for place, variable in enumerate(variables)
    }


def assign_values(
    variables: Sequence[Any], prefix: str, arrays: Mapping[str, NDArray[Any]], where: str
) -> None:
    """Give each variable the value that `values_of` took.

    Raises:
        ConveyorError: arrays of other variables than these.
    """
    named = {f"{prefix}/{place}": variable for place, variable in enumerate(variables)}
    wanted = {name: tuple(variable.shape) for name, variable in named.items()}
    given = {name: a.shape for name, a in arrays.items() if name.startswith(f"{prefix}/")}
    if wanted != given:
        raise lesson(
            where,
            "a checkpoint of the model that config.yaml beside it describes",
            f"one with {len(given)} variables in place of {len(wanted)}, or of other shapes",
            "Undo the change of config.yaml, or train anew in another folder.",
        )
    for name, variable in named.items():
        variable.assign(arrays[name])
