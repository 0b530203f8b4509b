"""What a training is given to learn from, in all the ways it can be."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .._errors import lesson
from ._config import DataConfig
from ._corpus import Corpus, read_pairs
from ._dialogues import read_dialogues
from ._files import replacing
from ._open import are_dialogues, read_corpus
from ._pairs import Pair

# A corpus; a file, or two parallel ones; pairs in memory.
Pairs = Corpus | str | Path | Sequence[str | Path] | Sequence[Pair]

_WRITE = 'Write train("pairs.tsv"), or train([Pair("4/3", "03-04")]).'


def opened(pairs: Pairs, config: DataConfig) -> Corpus | list[Pair]:
    """Files as a corpus (see `read_corpus`), pairs as a list.

    Raises:
        ConveyorError: what is neither, or no such file.

    >>> opened([("4/3", "03-04")], DataConfig())
    [Pair(source='4/3', target='03-04', tags=())]
    """
    if isinstance(pairs, Corpus):
        return pairs
    if isinstance(pairs, str | Path):
        return read_corpus(pairs, config=config)
    if not isinstance(pairs, Iterable):
        raise lesson("train", "pairs of texts, or files of them", repr(pairs), _WRITE)
    given: list[Any] = list(pairs)
    if given and all(isinstance(item, str | Path) for item in given):
        return read_corpus(*given, config=config)
    return [_pair(item, place) for place, item in enumerate(given)]


def are_of_dialogues(pairs: Pairs) -> bool:
    """Whether these pairs are known to be prompts and responses, before they are opened."""
    if isinstance(pairs, Corpus):
        return pairs.is_of_dialogues
    return isinstance(pairs, str | Path) and are_dialogues(pairs)


def _pair(item: Any, place: int) -> Pair:
    if isinstance(item, Pair):
        return item
    if (
        isinstance(item, tuple | list)
        and 2 <= len(item) <= 3
        and all(isinstance(text, str) for text in item[:2])
    ):
        return Pair(item[0], item[1], *map(tuple, item[2:]))
    raise lesson("train", "pairs of two texts", f"{item!r} as pair {place}", _WRITE)


def to_dict(corpus: Corpus) -> dict[str, Any] | None:
    """Files and settings as JSON has them; None where `from_dict` could not open them again."""
    files, settings = corpus.fingerprint()
    if not settings or settings[0] not in {"pairs", "dialogues"}:
        return None
    return {"files": files, "settings": settings, "bad_lines": corpus.bad_lines}


def from_dict(values: Mapping[str, Any], folder: Path) -> Corpus:
    """The corpus that `to_dict` described, which may have changed since.

    Args:
        values: what it gave.
        folder: that paths which are not absolute begin in.

    Raises:
        ConveyorError: files that are gone.
    """
    paths = [folder / path for path, *_ in values["files"]]
    gone = [str(path) for path in paths if not path.exists()]
    if gone:
        raise lesson(
            "resume",
            "the files that the training began with, as data/ in its folder is incomplete",
            f"no {', '.join(gone)}",
            "Put them back where they were, or train anew in another folder.",
        )
    kind, *settings = values["settings"]
    bad_lines = values["bad_lines"]
    if kind == "dialogues":
        history, mix = settings
        return read_dialogues(*paths, history=history, mix=mix, bad_lines=bad_lines)
    languages = settings[1] and tuple(settings[1])
    return read_pairs(*paths, languages=languages, bad_lines=bad_lines)


def write_pairs(path: Path, pairs: Iterable[Pair]) -> None:
    """As JSON lines, which `read_pairs` reads."""
    with replacing(path) as part, part.open("w", encoding="utf-8") as file:
        for pair in pairs:
            line = {"source": pair.source, "target": pair.target, "tags": list(pair.tags)}
            file.write(json.dumps(line) + "\n")
