"""Pairs from TMX, Translation Memory eXchange 1.4 (LISA OSCAR 2005)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from xml.parsers import expat

from .._errors import ConveyorError, lesson
from ._corpus_report import CorpusReport
from ._lines import LONGEST, opened
from ._pairs import Pair, make_pair

_CHUNK: Final = 2**16  # bytes
# Their content is markup of the document that the text came from. <hi> holds text.
_CODES: Final = frozenset({"bpt", "ept", "ph", "it", "ut"})


def read_tmx(path: Path, languages: tuple[str, str] | None, report: CorpusReport) -> Iterator[Pair]:
    """The units of a file that are in both languages, one after the other.

    Where a unit has several texts in a language, the first counts. Without `languages`, these
    are the header's `srclang` and the other one of the first unit.

    Raises:
        ConveyorError: XML that is not well formed, or that declares entities; no languages
            given and more than two there.
    """
    units = _Units(path, languages, report)
    with opened(path) as file:
        try:
            while chunk := file.read(_CHUNK):
                units.parser.Parse(chunk, False)
                yield from units.take()
            units.parser.Parse(b"", True)
        except ConveyorError:
            raise
        except (expat.ExpatError, LookupError, ValueError) as error:  # also: an odd encoding
            raise lesson(
                "The corpus",
                "XML that is well formed",
                f"{path}:{units.parser.CurrentLineNumber}: {error}",
                f"Write xmllint --noout {path} to see what is wrong there.",
            ) from None
    yield from units.take()


class _Units:
    """Listens to the parser and gathers one unit at a time."""

    def __init__(self, path: Path, languages: tuple[str, str] | None, report: CorpusReport) -> None:
        self._path, self._report = path, report
        self._languages = languages and (_tag(languages[0]), _tag(languages[1]))
        self._source_language = ""
        self._done: list[Pair] = []
        self._texts: dict[str, str] = {}  # of this unit, by language
        self._language = ""
        self._text: list[str] | None = None  # of this segment
        self._codes = 0  # how deep in markup
        self._length = 0
        self._place = ""
        self._problem = ""
        # Not xml.etree: it knows no line numbers and expands entities.
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._characters
        self.parser.EntityDeclHandler = self._entity
        self.parser.SkippedEntityHandler = self._unknown_entity

    def take(self) -> list[Pair]:
        """The pairs since the last time."""
        done, self._done = self._done, []
        return done

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "header":
            self._source_language = _tag(attributes.get("srclang", ""))
        elif name == "tu":
            self._texts, self._problem = {}, ""
            self._place = f"{self._path.name}:{self.parser.CurrentLineNumber}"
        elif name == "tuv":
            self._language = _tag(attributes.get("xml:lang", attributes.get("lang", "")))
        elif name == "seg":
            self._text, self._codes, self._length = [], 0, 0
        elif name in _CODES:
            self._codes += 1

    def _end(self, name: str) -> None:
        if name == "seg" and self._text is not None:
            self._texts.setdefault(self._language, "".join(self._text))
            self._text = None
        elif name in _CODES:
            self._codes -= 1
        elif name == "tu":
            self._finish()

    def _characters(self, text: str) -> None:
        if self._text is None or self._codes:
            return
        self._length += len(text)
        if self._length > LONGEST:
            self._problem = "a segment of more than a megabyte"
        else:
            self._text.append(text)

    def _unknown_entity(self, name: str, is_parameter: bool) -> None:
        if not is_parameter:
            self._problem = "an entity that XML does not know"

    def _entity(self, name: str, *_: Any) -> None:
        raise lesson(
            "The corpus",
            "TMX without entities of its own, as these can grow without end",
            f"<!ENTITY {name} ...> at {self._path}:{self.parser.CurrentLineNumber}",
            f"Write xmllint --noent --dropdtd {self._path}, if you trust the file.",
        )

    def _finish(self) -> None:
        if self._problem:
            self._report.add(self._problem, self._place)
            return
        source, target = self._sides()
        ours, theirs = _find(self._texts, source), _find(self._texts, target)
        if ours is None or theirs is None:
            has = ", ".join(self._texts) or "nothing"
            self._report.add(f"a unit that is not in {source} and {target}", self._place, has)
        elif pair := make_pair(self._place, ours, theirs, (), self._report):
            self._done.append(pair)

    def _sides(self) -> tuple[str, str]:
        if self._languages:
            return self._languages
        there = list(self._texts)
        if len(there) < 2:
            return self._source_language or "the source's language", "another language"
        ours = next((tag for tag in there if _matches(tag, self._source_language)), there[0])
        if len(there) > 2:
            others = [tag for tag in there if tag != ours]
            raise lesson(
                "read_pairs",
                "the languages to read, as there are more than two",
                f"{', '.join(there)} at {self._place}",
                f"Write languages={(ours, others[0])!r}.",
            )
        self._languages = (ours, there[there[0] == ours])
        return self._languages


def _tag(language: str) -> str:
    return language.strip().lower().replace("_", "-")


def _matches(tag: str, language: str) -> bool:
    """Whether `en-gb` is `en`."""
    return tag == language or tag.startswith(f"{language}-")


def _find(texts: dict[str, str], language: str) -> str | None:
    exact = texts.get(language)
    if exact is not None:
        return exact
    return next((text for tag, text in texts.items() if _matches(tag, language)), None)
