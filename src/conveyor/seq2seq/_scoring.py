"""How many translations are exactly right, and which are not."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from ._model import Translator
from ._pairs import Pair


class Mistake(NamedTuple):
    """A pair, and what the translator wrote instead of its target."""

    pair: Pair
    written: str


class Score(NamedTuple):
    """Shares of exact matches, from 0 to 1: of all pairs, and of those with each tag."""

    exact_match: float
    by_tag: dict[str, float]  # worst first
    mistakes: list[Mistake]


def score(translator: Translator, pairs: Sequence[Pair]) -> Score:
    """Translate the sources of these pairs and compare with their targets, letter by letter."""
    written = translator.translate([pair.source for pair in pairs])
    mistakes: list[Mistake] = []
    right: defaultdict[str, list[bool]] = defaultdict(list)
    for pair, text in zip(pairs, written, strict=True):
        if text != pair.target:
            mistakes.append(Mistake(pair, text))
        for tag in pair.tags:
            right[tag].append(text == pair.target)
    by_tag = {tag: sum(matches) / len(matches) for tag, matches in right.items()}
    return Score(
        1 - len(mistakes) / max(1, len(pairs)),
        dict(sorted(by_tag.items(), key=lambda item: item[1])),
        mistakes,
    )
