"""What a translator learns from: a text, and the text to write for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ._corpus_report import CorpusReport


class Pair(NamedTuple):
    """A source text and its target text.

    `tags` say what kind of pair it is, `("French", "full")`: accuracy is reported for each
    of them. The model never sees them.
    """

    source: str
    target: str
    tags: tuple[str, ...] = ()


def make_pair(
    place: str, source: str, target: str, tags: Sequence[str], report: CorpusReport
) -> Pair | None:
    """The pair, unless a side is empty or no Unicode, which goes into the report."""
    sides = []
    for name, text in (("source", source.strip()), ("target", target.strip())):
        if not text:
            report.add(f"an empty {name}", place)
            return None
        if any("\ud800" <= character <= "\udfff" for character in text):
            report.add("half a surrogate pair", place)
            return None
        sides.append(text)
    return Pair(sides[0], sides[1], tuple(tags))
