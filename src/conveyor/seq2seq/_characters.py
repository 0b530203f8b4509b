"""Characters to ids and back."""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Final

from .._errors import lesson

# Ids that are no character. Padding is 0, as `keras.layers.Embedding` and its masks have it.
PADDING: Final = 0
BEGIN: Final = 1
END: Final = 2
UNKNOWN: Final = 3
_FIRST_CHARACTER: Final = 4

_REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"
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
        return cls("".join(sorted(alphabet)), folded)

    @property
    def size(self) -> int:
        """How many ids there are."""
        return _FIRST_CHARACTER + len(self.alphabet)

    def encode(self, text: str) -> list[int]:
        """One id a character; what is not in the alphabet is unknown (3)."""
        ids = self._ids
        return [ids.get(character, UNKNOWN) for character in (fold(text) if self.folded else text)]

    def decode(self, ids: Iterable[int]) -> str:
        """The text up to the first end; unknown is written as `\\ufffd`, padding not at all."""
        characters: list[str] = []
        for token in ids:
            if token == END:
                break
            if token >= _FIRST_CHARACTER:
                characters.append(self.alphabet[token - _FIRST_CHARACTER])
            elif token == UNKNOWN:
                characters.append(_REPLACEMENT)
        return "".join(characters)

    def to_dict(self) -> dict[str, Any]:
        """For the configuration of a model; `Characters(**d)` reads it back."""
        return asdict(self)

    @functools.cached_property
    def _ids(self) -> dict[str, int]:
        return {c: token for token, c in enumerate(self.alphabet, _FIRST_CHARACTER)}
