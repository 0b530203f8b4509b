"""How a character is shown under its column, also when it has no shape of its own."""

from __future__ import annotations

import unicodedata

_VISIBLE = {" ": "␣", "\n": "↵", "\t": "⇥", "\r": "↵", "\u00a0": "⍽", "": "∅"}
_DOTTED_CIRCLE = "◌"


def visible(token: str) -> str:
    """A label for one token: spaces, controls and lone accents made visible.

    Characters that steer the direction of the text are spelled out: left as they are, they would
    turn the labels around them.

    >>> visible(" "), visible("é"), visible("\\u202e"), visible("\\u0301")
    ('␣', 'é', 'U+202E', '◌́')
    """
    if token in _VISIBLE:
        return _VISIBLE[token]
    shown = "".join(
        _VISIBLE.get(character) or _spelled_if_hidden(character, inside_word=len(token) > 1)
        for character in token
    )
    return _DOTTED_CIRCLE + shown if unicodedata.category(shown[0]).startswith("M") else shown


def _spelled_if_hidden(character: str, *, inside_word: bool) -> str:
    # Joiners inside a word shape its letters (Persian, emoji); alone they are invisible.
    if inside_word and character in "\u200c\u200d":
        return character
    hidden = unicodedata.category(character) in ("Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp")
    return f"U+{ord(character):04X}" if hidden else character
