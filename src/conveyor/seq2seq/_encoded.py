"""Pairs as token ids, in memory or on disk."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from array import array
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._config import DataConfig
from ._corpus import Corpus
from ._corpus_report import CorpusReport
from ._pairs import Pair
from ._vocabulary import Vocabulary

_FORMAT: Final = 1
_META: Final = "meta.json"
_FLUSH: Final = 1_000_000  # tokens


class Side(NamedTuple):
    """The sources, or the targets: all tokens one after the other.

    Those of pair n are `tokens[starts[n] : starts[n] + lengths[n]]`.
    """

    tokens: NDArray[Any]  # uint16 or int32, without BEGIN and END
    starts: NDArray[np.int64]
    lengths: NDArray[np.int32]

    def of(self, pair: int) -> list[int]:
        """The ids of one pair."""
        start = int(self.starts[pair])
        ids: list[int] = self.tokens[start : start + int(self.lengths[pair])].tolist()
        return ids


class EncodedPairs:
    """Pairs as token ids; see `encode_pairs`.

    Attributes:
        source, target: the tokens of each pair.
        report: what the corpus gave, and what was left out.
        digest: of all tokens; two that are equal train alike.
    """

    def __init__(self, source: Side, target: Side, report: CorpusReport, digest: str) -> None:
        self.source = source
        self.target = target
        self.report = report
        self.digest = digest

    def __len__(self) -> int:
        return len(self.source.lengths)


def encode_pairs(
    pairs: Iterable[Pair],
    source: Vocabulary,
    target: Vocabulary,
    config: DataConfig,
    folder: str | Path | None = None,
) -> EncodedPairs:
    """The token ids of all pairs that are short enough.

    Args:
        pairs: read once, one after the other.
        source, target: the vocabularies.
        config: pairs of more than `max_source_tokens` or `max_target_tokens` (END not counted)
            are left out; `report` counts them.
        folder: where the ids are kept, as more than fit in memory; None keeps them in memory.
            If `pairs` is a `Corpus` and the folder holds the ids of the same files, vocabularies
            and settings, nothing is encoded. Otherwise what is there is replaced, once the new
            is complete.

    Raises:
        ConveyorError: no pair is left.

    >>> from conveyor.seq2seq import Characters, Pair
    >>> characters = Characters("abc")
    >>> encoded = encode_pairs([Pair("abc", "cb")], characters, characters, DataConfig())
    >>> len(encoded), encoded.source.of(0), encoded.target.of(0)
    (1, [4, 5, 6], [6, 5])
    """
    limits = (config.max_source_tokens, config.max_target_tokens)
    dtype = np.dtype(np.uint16 if max(source.size, target.size) <= 2**16 else np.int32)
    if folder is None:
        sinks = (_Sink(dtype), _Sink(dtype))
        report = _encode(pairs, (source, target), limits, sinks)
        digest = _digest(sinks)
        return EncodedPairs(sinks[0].side(), sinks[1].side(), report, digest)
    folder = Path(folder)
    fingerprint = _fingerprint(pairs, source, target, limits)
    if fingerprint is not None:
        reused = _read(folder, fingerprint)
        if reused is not None:
            return reused
    partial = folder.with_name(f"{folder.name}.partial")
    try:
        _write(partial, pairs, (source, target), limits, dtype, fingerprint)
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    written = _read(folder, fingerprint)
    if written is None:
        raise OSError(f"{folder} was written and cannot be read: does something else write there?")
    return written


class _Sink:
    """Tokens of one side as they come; to a file where there is one, else to memory."""

    def __init__(self, dtype: np.dtype[Any], file: BinaryIO | None = None) -> None:
        self.dtype = dtype
        self.tokens = array(dtype.char)
        self.lengths = array("i")
        self.digest = hashlib.blake2b(digest_size=16)
        self._file = file

    def append(self, ids: list[int]) -> None:
        self.tokens.extend(ids)
        self.lengths.append(len(ids))
        if self._file and len(self.tokens) > _FLUSH:
            self.flush()

    def flush(self) -> None:
        self.digest.update(self.tokens)
        if self._file:
            self._file.write(self.tokens)
            del self.tokens[:]

    def side(self) -> Side:
        lengths = np.array(self.lengths, np.int32)
        return Side(np.array(self.tokens, self.dtype), _starts(lengths), lengths)


def _starts(lengths: NDArray[np.int32]) -> NDArray[np.int64]:
    starts = np.zeros(len(lengths), np.int64)
    np.cumsum(lengths[:-1], out=starts[1:])
    return starts


def _encode(
    pairs: Iterable[Pair],
    vocabularies: tuple[Vocabulary, Vocabulary],
    limits: tuple[int, int],
    sinks: tuple[_Sink, _Sink],
) -> CorpusReport:
    report = CorpusReport()
    sides = ("source", "target")
    for number, pair in enumerate(pairs, 1):
        both = (vocabularies[0].encode(pair.source), vocabularies[1].encode(pair.target))
        for side, ids, limit in zip(sides, both, limits, strict=True):
            if not ids:
                report.add(f"a {side} without tokens", f"pair {number:,}")
                break
            if len(ids) > limit:
                report.add(f"a {side} of more than {limit} tokens", f"pair {number:,}")
                break
        else:
            report.pairs += 1
            for sink, ids in zip(sinks, both, strict=True):
                sink.append(ids)
    if isinstance(pairs, Corpus):  # what it could not read comes first
        report.problems = {**pairs.report.copy().problems, **report.problems}
    if not report.pairs:
        raise report.nothing(pairs.name if isinstance(pairs, Corpus) else "the pairs given")
    for sink in sinks:
        sink.flush()
    return report


def _digest(sinks: tuple[_Sink, _Sink]) -> str:
    both = hashlib.blake2b(digest_size=16)
    for sink in sinks:
        both.update(sink.digest.digest())
        both.update(sink.lengths)
    return both.hexdigest()


def _fingerprint(
    pairs: Iterable[Pair], source: Vocabulary, target: Vocabulary, limits: tuple[int, int]
) -> str | None:
    if not isinstance(pairs, Corpus):
        return None
    told = [_FORMAT, pairs.fingerprint(), source.to_dict(), target.to_dict(), limits]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def _write(
    folder: Path,
    pairs: Iterable[Pair],
    vocabularies: tuple[Vocabulary, Vocabulary],
    limits: tuple[int, int],
    dtype: np.dtype[Any],
    fingerprint: str | None,
) -> None:
    shutil.rmtree(folder, ignore_errors=True)  # of a process that was killed
    folder.mkdir(parents=True)
    with (
        open(folder / "source.tokens", "wb") as source,
        open(folder / "target.tokens", "wb") as target,
    ):
        sinks = (_Sink(dtype, source), _Sink(dtype, target))
        report = _encode(pairs, vocabularies, limits, sinks)
        for file in (source, target):
            file.flush()
            os.fsync(file.fileno())
    for side, sink in zip(("source", "target"), sinks, strict=True):
        _write_through(folder / f"{side}.lengths", sink.lengths.tobytes())
    meta = {
        "format": _FORMAT,
        "fingerprint": fingerprint,
        "dtype": dtype.name,
        "digest": _digest(sinks),
        "report": report.to_dict(),
    }
    _write_through(folder / _META, json.dumps(meta).encode())


def _write_through(path: Path, content: bytes) -> None:
    with open(path, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _read(folder: Path, fingerprint: str | None) -> EncodedPairs | None:
    """What is there, if it is whole and of this fingerprint."""
    try:
        meta = json.loads((folder / _META).read_bytes())
        if (meta["format"], meta["fingerprint"]) != (_FORMAT, fingerprint):
            return None
        report = CorpusReport.from_dict(meta["report"])
        sides = []
        for side in ("source", "target"):
            lengths = np.fromfile(folder / f"{side}.lengths", np.int32)
            # A plain array: a memmap costs microseconds more at each indexing.
            tokens = np.asarray(np.memmap(folder / f"{side}.tokens", meta["dtype"], "r"))
            if len(lengths) != report.pairs or len(tokens) != lengths.sum(dtype=np.int64):
                return None
            sides.append(Side(tokens, _starts(lengths), lengths))
        return EncodedPairs(sides[0], sides[1], report, meta["digest"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def read_encoded(folder: Path) -> EncodedPairs | None:
    """What `encode_pairs` left in a folder, whatever it was made of; None if it is not whole."""
    try:
        fingerprint = json.loads((folder / _META).read_bytes())["fingerprint"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return _read(folder, fingerprint)
