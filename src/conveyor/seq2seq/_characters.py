"""Characters to ids and back."""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from .._errors import lesson
from ._tokens import BEGIN as BEGIN
from ._tokens import END as END
from ._tokens import FIRST_TOKEN, REPLACEMENT, SPECIAL_PIECES, unicode_text, until_end, visible
from ._tokens import PADDING as PADDING
from ._tokens import UNKNOWN as UNKNOWN

# Marks that steer the direction of writing and cannot be seen; they are there when a program
# wrote the text and absent when a person did.
_INVISIBLE: Final = dict.fromkeys(map(ord, "\u061c\u200e\u200f\u2066\u2067\u2068\u2069"))


def fold(text: str) -> str:
    """The text without what readers overlook: case, width, kind of space, direction marks.

    >>> fold("Mardi  4\\u202fMARS ２０２５")
    'mardi 4 mars 2025'
    """
    # Case first: folding İ yields a decomposed letter, which NFKC then composes.
    folded = unicodedata.normalize("NFKC", text.casefold()).translate(_INVISIBLE)
    return " ".join(folded.split())


@dataclass(frozen=True)
class Characters:
    """A vocabulary of single characters.

    Ids 0 to 3 are padding, begin, end and unknown; then follows the alphabet, in its order.

    Args:
        alphabet: every character that has an id, once.
        folded: whether texts are folded (see `fold`) before they are encoded.

    Raises:
        ConveyorError: a character that is there twice.

    >>> characters = Characters("abc")
    >>> characters.encode("cab!")
    [6, 4, 5, 3]
    >>> characters.decode([6, 4, 5, 2, 0])
    'cab'
    """

    alphabet: str
    folded: bool = False

    def __post_init__(self) -> None:
        if len(set(self.alphabet)) < len(self.alphabet):
            raise lesson(
                "Characters",
                "an alphabet with every character once",
                f"{len(self.alphabet)} characters, {len(set(self.alphabet))} of them different",
                "Write Characters.from_texts(texts), or Characters(''.join(sorted(set(text)))).",
            )

    @classmethod
    def from_texts(cls, texts: Iterable[str], *, folded: bool = False) -> Characters:
        """The alphabet of these texts, in Unicode's order.

        >>> Characters.from_texts(["Bab", "ca"]).alphabet
        'Babc'
        """
        alphabet: set[str] = set()
        for text in texts:
            alphabet.update(fold(text) if folded else text)
        return cls(unicode_text("".join(sorted(alphabet))), folded)

    @property
    def size(self) -> int:
        """How many ids there are."""
        return FIRST_TOKEN + len(self.alphabet)

    def encode(self, text: str) -> list[int]:
        """One id a character; what is not in the alphabet is unknown (3)."""
        ids = self._ids
        return [ids.get(character, UNKNOWN) for character in (fold(text) if self.folded else text)]

    def decode(self, ids: Iterable[int]) -> str:
        """The text up to the first end; unknown is written as `\\ufffd`, padding not at all."""
        return "".join(
            REPLACEMENT if token == UNKNOWN else self.alphabet[token - FIRST_TOKEN]
            for token in until_end(ids)
        )

    def pieces(self, ids: Iterable[int]) -> list[str]:
        """What each id stands for, to be shown.

        >>> Characters(" ab").pieces([1, 5, 4, 2])
        ['<s>', 'a', '▁', '</s>']
        """
        every = (*SPECIAL_PIECES, *self.alphabet)
        return [every[token] if token < FIRST_TOKEN else visible(every[token]) for token in ids]

    def to_dict(self) -> dict[str, Any]:
        """For the files of a model; `from_dict` reads it back."""
        return {"kind": "characters", "alphabet": self.alphabet, "folded": self.folded}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Characters:
        """What `to_dict` wrote."""
        return cls(values["alphabet"], values["folded"])

    @functools.cached_property
    def _ids(self) -> dict[str, int]:
        return {c: token for token, c in enumerate(self.alphabet, FIRST_TOKEN)}
