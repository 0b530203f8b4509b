"""The ids that every vocabulary shares, and how a token looks to a reader."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

# Ids that are no text. Padding is 0, as `keras.layers.Embedding` and its masks have it.
PADDING: Final = 0
BEGIN: Final = 1
END: Final = 2
UNKNOWN: Final = 3
FIRST_TOKEN: Final = 4  # of the vocabulary's own

SPECIAL_PIECES: Final = ("<pad>", "<s>", "</s>", "<unk>")

REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"  # stands for what is unknown
SPACE_MARK: Final = "\N{LOWER ONE EIGHTH BLOCK}"  # sentencepiece's space that can be seen

_SURROGATE: Final = re.compile("[\ud800-\udfff]")
# Controls to the pictures that Unicode has of them: a line feed to ␊.
_VISIBLE: Final[dict[int, int | str]] = {
    **{control: 0x2400 + control for control in range(0x20)},
    0x7F: 0x2421,
    ord(" "): SPACE_MARK,
}


def unicode_text(text: str) -> str:
    """The text with half surrogate pairs, which no file can hold, as U+FFFD.

    >>> unicode_text("caf\\udce9")
    'caf\ufffd'
    """
    return text if text.isascii() else _SURROGATE.sub(REPLACEMENT, text)


def visible(piece: str) -> str:
    """A piece of text as it can be shown: space as ▁, controls as pictures.

    >>> visible(" a\\n")
    '▁a␊'
    """
    return piece.translate(_VISIBLE)


def until_end(ids: Iterable[int]) -> Iterator[int]:
    """The ids before the first END, as plain ints, without PADDING and BEGIN.

    >>> list(until_end([1, 7, 3, 8, 2, 9, 0]))
    [7, 3, 8]
    """
    for token in map(int, ids):
        if token == END:
            return
        if token not in {PADDING, BEGIN}:
            yield token
