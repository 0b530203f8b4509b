"""Sessions in a file: an .npz of the states, and a text that says whose they are."""

from __future__ import annotations

import json
import os
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import numpy as np

from .._archives import check_size
from .._errors import lesson
from ._sessions import States

_FORMAT = "conveyor.stream"
_NAMES = ("hidden_state", "cell_state")


def write(path: Path, keys: list[Hashable], states: list[States]) -> Path:
    """Write the states of sessions; a file that is there stays until the new one is complete.

    Raises:
        ConveyorError: a key that is neither text, a whole number nor None.
    """
    for key in keys:
        if not _is_key(key):
            raise lesson(
                "conveyor.Stream.save",
                "keys of text, whole numbers or None",
                repr(key),
                'Write stream.step(x, session="name").',
            )
    lstms = list(states[0]) if states else []
    about = {"format": _FORMAT, "sessions": keys, "lstms": lstms}
    arrays = {"about": np.frombuffer(json.dumps(about).encode(), np.uint8)}
    for n, lstm in enumerate(lstms):
        for place, name in enumerate(_NAMES[: len(states[0][lstm])]):
            stacked = np.stack([of[lstm][place] for of in states])
            # NumPy's files know no bfloat16; float32 holds it.
            arrays[f"{n}.{name}"] = stacked.astype(np.promote_types(stacked.dtype, np.float32))
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return path


def read(path: Path) -> dict[Hashable, States]:
    """The states of each session in a file.

    Raises:
        ConveyorError: a file that `write` did not write.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}. It is to hold sessions, written by stream.save.")
    try:
        check_size(path)
        # NumPy would leave a damaged file open.
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            return _sessions({name: file[name] for name in file.files})
    except Exception as error:  # of zip, NumPy and JSON
        raise lesson(
            str(path),
            "sessions that stream.save wrote",
            str(error).partition("\n")[0] or type(error).__name__,
            "Write stream.save(path) anew.",
        ) from error


def _sessions(arrays: dict[str, np.ndarray]) -> dict[Hashable, States]:
    about: Any = json.loads(arrays["about"].tobytes())
    keys, lstms = about["sessions"], about["lstms"]
    if about["format"] != _FORMAT or not all(map(_is_key, keys)) or len(set(keys)) < len(keys):
        raise ValueError("another content")
    found: dict[Hashable, States] = {key: {} for key in keys}
    for n, lstm in enumerate(lstms):
        # A GRU has no cell state.
        names = [name for name in _NAMES if name == _NAMES[0] or f"{n}.{name}" in arrays]
        states = [arrays[f"{n}.{name}"] for name in names]
        if any(a.ndim != 2 or len(a) != len(keys) or a.dtype.kind != "f" for a in states):
            raise ValueError("states that do not fit")
        for row, key in enumerate(keys):
            found[key][str(lstm)] = tuple(state[row] for state in states)
    return found


def _is_key(key: object) -> bool:
    return key is None or type(key) in (str, int)
