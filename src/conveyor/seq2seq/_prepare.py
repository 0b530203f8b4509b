"""From texts to vocabularies and token ids, once; a second time they are read back."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ._config import Config
from ._corpus import Corpus, read_pairs
from ._encoded import EncodedPairs, encode_pairs, read_encoded
from ._files import write_json
from ._folder import Folder
from ._given import write_pairs
from ._held_out import held_out, without
from ._pairs import Pair
from ._vocabulary import Vocabulary, learn_vocabularies, vocabulary_from_dict

# Written last: what is there with it is complete.
_MARK: Final = "prepared.json"


@dataclass(frozen=True, eq=False)
class Prepared:
    """What a training reads."""

    source: Vocabulary
    target: Vocabulary
    train: EncodedPairs
    dev: list[Pair]
    dev_encoded: EncodedPairs | None  # None: there are no dev pairs
    notes: list[str] = field(default_factory=list)  # what the user should know of the pairs


def prepare(
    pairs: Corpus | list[Pair],
    dev: Corpus | list[Pair] | None,
    config: Config,
    folder: Folder | None,
) -> Prepared:
    """Vocabularies and token ids; in the folder, where there is one.

    Killed and begun again, what was complete is kept.

    Args:
        pairs: read up to three times, one after the other.
        dev: None: some of the pairs, which are then not learned from.
        config: of text and data.
        folder: gets `vocabulary.json` and `data/`; None: nothing is written.
    """
    notes: list[str] = []
    if dev is None:
        dev_pairs = held_out(pairs)
        notes.append(
            f"{len(dev_pairs):,} of the pairs are held out as dev pairs, chosen by a checksum"
            if dev_pairs
            else "There are too few pairs to hold some out: nothing is evaluated."
        )
    else:
        dev_pairs = list(dev)
    source, target = _vocabularies(_rest(pairs, dev, dev_pairs), config, folder)
    data = None if folder is None else folder.data

    def encode(some: Iterable[Pair], name: str) -> EncodedPairs:
        into = None if data is None else data / name
        return encode_pairs(some, source, target, config.data, into)

    train = encode(_rest(pairs, dev, dev_pairs), "train")
    reports = [("pairs", pairs.report)] if isinstance(pairs, Corpus) else []
    reports.append(("encoded pairs", train.report))
    dev_encoded = None
    if dev_pairs:
        dev_encoded = encode(dev_pairs, "dev")
        reports.append(("encoded dev pairs", dev_encoded.report))
    notes += [f"{name}: {report}" for name, report in reports if report.left_out]
    if data is not None:
        write_pairs(data / "dev.jsonl", dev_pairs)
        write_json(data / _MARK, {"notes": notes, "dev": len(dev_pairs)})
    return Prepared(source, target, train, dev_pairs, dev_encoded, notes)


def prepared(folder: Folder) -> Prepared | None:
    """What `prepare` left in the folder; None where it is not all there."""
    try:
        mark = json.loads((folder.data / _MARK).read_text(encoding="utf-8"))
        source, target = read_vocabularies(folder.vocabulary)
        dev = list(read_pairs(folder.data / "dev.jsonl")) if mark["dev"] else []
    except (OSError, ValueError):
        return None
    train = read_encoded(folder.data / "train")
    dev_encoded = read_encoded(folder.data / "dev") if dev else None
    if train is None or len(dev) != mark["dev"] or (dev and dev_encoded is None):
        return None
    return Prepared(source, target, train, dev, dev_encoded)


def read_vocabularies(path: Path) -> tuple[Vocabulary, Vocabulary]:
    """Those of sources and targets; one and the same where they are equal."""
    values = json.loads(path.read_text(encoding="utf-8"))
    source = vocabulary_from_dict(values["source"])
    if values["target"] == values["source"]:
        return source, source
    return source, vocabulary_from_dict(values["target"])


def _vocabularies(
    pairs: Iterable[Pair], config: Config, folder: Folder | None
) -> tuple[Vocabulary, Vocabulary]:
    if folder is not None and folder.vocabulary.exists():
        return read_vocabularies(folder.vocabulary)
    source, target = learn_vocabularies(pairs, config.text)
    if folder is not None:
        values: dict[str, Any] = {"source": source.to_dict(), "target": target.to_dict()}
        write_json(folder.vocabulary, values)
    return source, target


def _rest(pairs: Iterable[Pair], dev: Any, dev_pairs: list[Pair]) -> Iterable[Pair]:
    """What is learned from."""
    return without(pairs, dev_pairs) if dev is None else pairs
