"""training.json: what a training was given, and how it ended."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import keras

from .._errors import lesson
from .._version import __version__
from ._config import Config
from ._corpus import Corpus, read_pairs
from ._files import replacing, write_json
from ._folder import Folder
from ._given import from_dict, to_dict, write_pairs
from ._pairs import Pair
from ._prepare import Prepared, prepare, prepared
from ._schedule import check_schedule

FORMAT: Final = 1

# What the checkpoint has variables for, and those have values.
_FIXED: Final = ("optimizer", "accumulate", "moving_average", "precision", "seed")


class Continued(NamedTuple):
    """How a training goes on."""

    config: Config
    notes: list[str]


def begin(
    folder: Folder, pairs: Corpus | list[Pair], dev: Corpus | list[Pair] | None, config: Config
) -> None:
    """Write down what a new training was given, pairs in memory included.

    Raises:
        ConveyorError: a folder where something is that would be overwritten.
    """
    _refuse_what_is_there(folder)
    folder.data.mkdir(exist_ok=True)
    given = {
        "format": FORMAT,
        "conveyor": __version__,
        "keras": keras.__version__,
        "backend": keras.backend.backend(),
        "pairs": _corpus(pairs, folder, "pairs.jsonl"),
        "dev": None if dev is None else _corpus(dev, folder, "dev-pairs.jsonl"),
        "config": config.to_dict(),
        "result": None,
    }
    write_json(folder.training, given)  # from here on there is something to resume
    _write_config(folder, config)


def continued(folder: Folder, settings: Mapping[str, Any]) -> Continued:
    """How the training of a folder goes on, with its config.yaml as it is now.

    Args:
        folder: of the training.
        settings: to change in config.yaml.

    Raises:
        ConveyorError: no training; one of another version; settings that cannot change.
    """
    given = _read(folder)
    before = Config.from_dict(given["config"])
    config = Config.from_yaml(folder.config) if folder.config.exists() else before
    config = config.with_settings(settings)
    check_schedule(config.training, "resume")
    changes = _changes(before, config)
    fixed = [
        name
        for name in changes
        if name.startswith(("model.", "text.", "data.")) or name.split(".")[1] in _FIXED
    ]
    if fixed:
        raise lesson(
            "resume",
            "settings that a training under way can still change, as training.epochs",
            ", ".join(f"{name}: {changes[name]}" for name in fixed),
            f"Undo that in {folder.config}, or train anew in another folder.",
        )
    notes = [f"{name} was changed: {change}" for name, change in changes.items()]
    if given["backend"] != keras.backend.backend():
        notes.append(
            f"It began on {given['backend']} and goes on on {keras.backend.backend()}: "
            "the numbers will not be those of an unbroken training."
        )
    if changes or not folder.config.exists():
        _write_config(folder, config)
    if changes:
        write_json(folder.training, {**given, "config": config.to_dict(), "result": None})
    return Continued(config, notes)


def pairs_of(folder: Folder, config: Config, notes: list[str]) -> Prepared:
    """Pairs and vocabularies of a folder, made ready where they are not yet."""
    given = _read(folder)
    ready = prepared(folder)
    if ready is None:
        dev = given["dev"]
        if dev is not None:
            dev = from_dict(dev, folder.path) if dev["files"] else []
        ready = prepare(from_dict(given["pairs"], folder.path), dev, config, folder)
    elif _has_changed(given["pairs"], folder):
        notes.append("The files of pairs have changed since; it goes on with them as they were.")
    ready.notes[:0] = notes
    return ready


def result_of(folder: Folder) -> dict[str, Any] | None:
    """How the training ended; None: it has not."""
    result: dict[str, Any] | None = _read(folder)["result"]
    return result if folder.model.exists() else None


def write_result(folder: Folder, result: Mapping[str, Any]) -> None:
    """The training has ended."""
    write_json(folder.training, {**_read(folder), "result": dict(result)})


def _read(folder: Folder) -> dict[str, Any]:
    try:
        given: dict[str, Any] = json.loads(folder.training.read_text(encoding="utf-8"))
        written_by = given["format"], given["conveyor"]
    except FileNotFoundError:
        raise lesson(
            "resume",
            "a folder that train(pairs, out=...) has made, with its training.json",
            f"{str(folder.path)!r}, which {_contents(folder.path)}",
            f'Write train("pairs.tsv", {str(folder.path)!r}) to begin one there.',
        ) from None
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise lesson(
            "resume",
            "training.json as it was written",
            f"{folder.training}, which cannot be read ({error})",
            "Copy it anew from where it came from, or train anew in another folder.",
        ) from None
    if written_by[0] != FORMAT:
        raise lesson(
            "resume",
            f"a training of format {FORMAT}, which this version of conveyor ({__version__}) goes "
            "on with",
            f"{folder.training} of format {written_by[0]!r}, by conveyor {written_by[1]}",
            f'Write pip install "conveyor=={written_by[1]}", or train anew in another folder.',
        )
    return given


def _contents(path: Path) -> str:
    if not path.is_dir():
        return "is not there" if not path.exists() else "is a file"
    names = sorted(os.listdir(path))
    if not names:
        return "is empty"
    return f"holds {', '.join(names[:5])}{', ...' if len(names) > 5 else ''}"


def _refuse_what_is_there(folder: Folder) -> None:
    path = str(folder.path)
    if folder.training.exists():
        raise lesson(
            "train",
            "a folder without a model, as what was learned is never overwritten",
            f"{path!r}, where a training began",
            f"Write resume({path!r}) to go on with it, or train(..., {path + '-2'!r}).",
        )
    others = [
        item.name
        for item in (folder.model, folder.checkpoint, folder.best, folder.config)
        if item.exists()
    ]
    if others:
        raise lesson(
            "train",
            "an empty folder, as nothing is ever overwritten",
            f"{path!r} with {', '.join(others)}",
            f"Write train(..., {path + '-2'!r}).",
        )


def _corpus(pairs: Corpus | list[Pair], folder: Folder, name: str) -> dict[str, Any]:
    """The files of pairs; those that are in none go into one of the folder, for `resume`."""
    described = to_dict(pairs) if isinstance(pairs, Corpus) else None
    if described is None and pairs:
        file = folder.data / name
        write_pairs(file, pairs)
        described = to_dict(read_pairs(file)) or {}
        # The folder may be moved.
        described["files"][0][0] = str(file.relative_to(folder.path))
    return described or {"files": []}


def _has_changed(corpus: Mapping[str, Any], folder: Folder) -> bool:
    for path, size, time in corpus["files"]:
        file = folder.path / path
        if file.exists() and [file.stat().st_size, file.stat().st_mtime_ns] != [size, time]:
            return True
    return False


def _write_config(folder: Folder, config: Config) -> None:
    with replacing(folder.config) as part:
        config.to_yaml(part)


def _changes(before: Config, after: Config) -> dict[str, str]:
    """`training.epochs`: `20.0 -> 40.0`."""
    old, new = before.to_dict(), after.to_dict()
    return {
        f"{topic}.{name}": f"{old[topic][name]} -> {value}"
        for topic, values in new.items()
        for name, value in values.items()
        if value != old[topic][name]
    }
