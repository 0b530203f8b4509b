"""Words and punctuation to ids and back."""

from __future__ import annotations

import functools
import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ._characters import fold
from ._tokens import (
    FIRST_TOKEN,
    REPLACEMENT,
    SPECIAL_PIECES,
    UNKNOWN,
    unicode_text,
    until_end,
    visible,
)


def split(text: str) -> Iterator[str]:
    """Words, punctuation marks and white space; a word holds the space before it.

    The text is taken as if a space stood before it, so that its first word is the one known
    from the middle of a sentence. Joined, without that space, they are the text again.

    >>> list(split("Well, no!"))
    [' Well', ',', ' no', '!']
    """
    return (match[0] for match in _pattern().finditer(f" {text}"))


@functools.cache
def _pattern() -> re.Pattern[str]:
    # Accents and vowel signs that stand alone are no \w, but belong to their word.
    marks = [n for n in range(sys.maxunicode) if unicodedata.category(chr(n))[0] == "M"]
    starts = [n for n, before in zip(marks, [-1, *marks], strict=False) if n != before + 1]
    ends = [n for n, after in zip(marks, [*marks[1:], -1], strict=True) if n + 1 != after]
    ranges = "".join(rf"\U{a:08x}-\U{b:08x}" for a, b in zip(starts, ends, strict=True))
    return re.compile(rf" ?[\w{ranges}]+| ?[^\w\s{ranges}]|\s")


@dataclass(frozen=True)
class Words:
    """A vocabulary of words, punctuation marks and white space (see `split`).

    Args:
        words: what has an id, once each, from 4.
        folded: whether texts are folded (see `fold`) before they are encoded.

    >>> words = Words.from_texts(["Well, well, well."], size=8)
    >>> words.encode("well, no.")
    [4, 5, 3, 7]
    >>> words.decode([4, 5, 3, 7, 2, 0])
    'well, \ufffd.'
    """

    words: tuple[str, ...]
    folded: bool = False

    @classmethod
    def from_texts(cls, texts: Iterable[str], *, size: int, folded: bool = False) -> Words:
        """The words that are most frequent in these texts, at most `size` ids in all."""
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(split(fold(text) if folded else unicode_text(text)))
        return cls.from_counts(counts, size=size, folded=folded)

    @classmethod
    def from_counts(cls, counts: Counter[str], *, size: int, folded: bool = False) -> Words:
        """The most frequent words; of those that are as frequent, the first in Unicode's order."""
        ranked = sorted(counts, key=lambda word: (-counts[word], word))
        return cls(tuple(ranked[: max(0, size - FIRST_TOKEN)]), folded)

    @property
    def size(self) -> int:
        """How many ids there are."""
        return FIRST_TOKEN + len(self.words)

    def encode(self, text: str) -> list[int]:
        """One id a word; what is not in the vocabulary is unknown (3)."""
        ids = self._ids
        return [ids.get(word, UNKNOWN) for word in split(fold(text) if self.folded else text)]

    def decode(self, ids: Iterable[int]) -> str:
        """The text up to the first end; unknown is written as ` \\ufffd`, padding not at all."""
        joined = "".join(
            f" {REPLACEMENT}" if token == UNKNOWN else self.words[token - FIRST_TOKEN]
            for token in until_end(ids)
        )
        return joined.removeprefix(" ")

    def pieces(self, ids: Iterable[int]) -> list[str]:
        """What each id stands for, to be shown; `▁` is a space."""
        every = (*SPECIAL_PIECES, *self.words)
        return [every[token] if token < FIRST_TOKEN else visible(every[token]) for token in ids]

    def to_dict(self) -> dict[str, Any]:
        """For the files of a model; `from_dict` reads it back."""
        return {"kind": "words", "words": list(self.words), "folded": self.folded}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Words:
        """What `to_dict` wrote."""
        return cls(tuple(values["words"]), values["folded"])

    @functools.cached_property
    def _ids(self) -> dict[str, int]:
        return {word: token for token, word in enumerate(self.words, FIRST_TOKEN)}
