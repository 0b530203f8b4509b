"""Pairs from files: one reader a format, and what they have in common."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal

from .._errors import lesson
from ._corpus_report import CorpusReport
from ._lines import existing, lines
from ._pairs import Pair, make_pair
from ._tmx import read_tmx

Reader = Callable[[CorpusReport], Iterator[Pair]]


class Corpus:
    """Pairs of files, read anew each time one iterates over it, a line at a time.

    Attributes:
        name: of its files, to be shown.
        bad_lines: as it was given.
        report: of the last iteration: how many pairs, and what was left out and why.

    Raises:
        ConveyorError: while iterating: a file that breaks off, no pair at all, and, if
            `bad_lines="refuse"`, the first line that cannot be used.
    """

    def __init__(
        self,
        read: Reader,
        files: Sequence[Path],
        *,
        bad_lines: Literal["skip", "refuse"] = "skip",
        settings: Sequence[Any] = (),
    ) -> None:
        self.name = ", ".join(str(file) for file in files)
        self.bad_lines = bad_lines
        self.report = CorpusReport()
        self._read = read
        self._files = list(files)
        self._settings = list(settings)

    def __iter__(self) -> Iterator[Pair]:
        self.report = report = CorpusReport(refuse=self.bad_lines == "refuse")
        for pair in self._read(report):
            report.pairs += 1
            yield pair
        if not report.pairs:
            raise report.nothing(self.name)

    @property
    def is_of_dialogues(self) -> bool:
        """Whether the pairs are prompts and responses."""
        return self._settings[:1] == ["dialogues"]

    def fingerprint(self) -> list[Any]:
        """What changes when the pairs may have changed: files, their sizes and times."""
        stats = [(file, file.stat()) for file in self._files]
        files = [[str(file.resolve()), stat.st_size, stat.st_mtime_ns] for file, stat in stats]
        return [files, self._settings]


def read_pairs(
    *paths: str | Path,
    languages: tuple[str, str] | None = None,
    bad_lines: Literal["skip", "refuse"] = "skip",
) -> Corpus:
    """The pairs of a file, or of two parallel files. Each may be gzip (`.gz`).

    - `.tsv`: a pair a line, source and target separated by one tab; no quoting.
    - `.jsonl`: an object a line, `{"source": "...", "target": "...", "tags": ["..."]}`, without
      tags if need be. With languages: `{"en": "...", "fr": "..."}`, as the object itself or
      as its `"translation"`.
    - `.tmx`: Translation Memory eXchange 1.4.
    - two files: the lines of the one, and in the other the same lines translated.

    White space around a text is dropped, and nothing else is changed.

    Args:
        languages: source and target, of `.tmx` and `.jsonl`. `"en"` finds `en-GB`, too. A
            `.tmx` of two languages needs none.
        bad_lines: what to do with what is no pair: count and leave out, or refuse.

    Raises:
        ConveyorError: no such file, or of another format.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp(), "pairs.tsv")
    >>> _ = file.write_text("one\\tun\\ntwo\\nthree\\ttrois\\n")
    >>> corpus = read_pairs(file)
    >>> list(corpus)
    [Pair(source='one', target='un', tags=()), Pair(source='three', target='trois', tags=())]
    >>> print(corpus.report)
    2 pairs; left out: not two columns: 1 (pairs.tsv:2)
    """
    files = [existing(path) for path in paths]
    kind = kind_of(files[0]) if len(files) == 1 else ""
    readers: dict[str, Reader] = {
        ".tsv": lambda report: _tsv(files[0], report),
        ".jsonl": lambda report: _jsonl(files[0], languages or ("source", "target"), report),
        ".tmx": lambda report: read_tmx(files[0], languages, report),
    }
    reader = readers.get(kind)
    if len(files) == 2:
        reader = lambda report: _parallel(files[0], files[1], report)  # noqa: E731
    if reader is None:
        raise lesson(
            "read_pairs",
            f"a file of {', '.join(readers)}, each also with .gz, or two parallel files",
            ", ".join(map(repr, map(str, paths))) or "none",
            'Write read_pairs("pairs.tsv"), or read_pairs("corpus.en", "corpus.fr").',
        )
    return Corpus(reader, files, bad_lines=bad_lines, settings=["pairs", kind, languages])


def kind_of(file: Path) -> str:
    """What a file's name says that it holds: `.tsv` of `a.tsv.gz`."""
    return Path(file.name.lower().removesuffix(".gz")).suffix


def json_lines(file: Path, report: CorpusReport) -> Iterator[tuple[str, Any]]:
    """The place and the value of each line; what is no JSON goes into the report."""
    for place, text in lines(file, report):
        if text is None:
            continue
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            report.add("broken JSON", place, str(error))
            continue
        yield place, value


def _tsv(file: Path, report: CorpusReport) -> Iterator[Pair]:
    for place, text in lines(file, report):
        if text is None:
            continue
        columns = text.split("\t")
        if len(columns) != 2:
            report.add("not two columns", place, f"{len(columns)}")
            continue
        pair = make_pair(place, columns[0], columns[1], (), report)
        if pair:
            yield pair


def _parallel(source: Path, target: Path, report: CorpusReport) -> Iterator[Pair]:
    for ours, theirs in zip_longest(lines(source, report), lines(target, report)):
        if ours is None or theirs is None:
            report.add("a line that the other file lacks", (ours or theirs).place)
        elif ours.text is not None and theirs.text is not None:
            pair = make_pair(ours.place, ours.text, theirs.text, (), report)
            if pair:
                yield pair


def _jsonl(file: Path, keys: tuple[str, str], report: CorpusReport) -> Iterator[Pair]:
    for place, value in json_lines(file, report):
        texts = value.get("translation", value) if isinstance(value, dict) else value
        if not isinstance(texts, dict) or not all(isinstance(texts.get(key), str) for key in keys):
            has = f"; it has {', '.join(map(repr, texts))}" if isinstance(texts, dict) else ""
            report.add(f"no texts named {keys[0]!r} and {keys[1]!r}", place, has.strip("; "))
            continue
        tags = value.get("tags", [])
        if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
            report.add("tags that are no list of texts", place)
            continue
        pair = make_pair(place, texts[keys[0]], texts[keys[1]], tags, report)
        if pair:
            yield pair
