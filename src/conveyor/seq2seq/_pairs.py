"""What a translator learns from: a text, and the text to write for it."""

from __future__ import annotations

from typing import NamedTuple


class Pair(NamedTuple):
    """A source text and its target text.

    `tags` say what kind of pair it is, `("French", "full")`: accuracy is reported for each
    of them. The model never sees them.
    """

    source: str
    target: str
    tags: tuple[str, ...] = ()
