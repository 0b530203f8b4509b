"""Texts to ids and back: what every vocabulary does, and how one is learnt from pairs."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final, Protocol, runtime_checkable

from .._errors import lesson
from ._characters import Characters, fold
from ._config import TextConfig
from ._pairs import Pair
from ._subwords import Subwords
from ._tokens import unicode_text
from ._words import Words, split

# Subwords are learnt from so many pairs, drawn evenly, where there are more.
_LEARNED_FROM: Final = 500_000


@runtime_checkable
class Vocabulary(Protocol):
    """Texts as ids: `Subwords`, `Characters` or `Words`.

    Ids 0 to 3 are padding, begin, end and unknown in each of them.
    """

    @property
    def size(self) -> int:
        """How many ids there are: from 0 to `size - 1`."""

    @property
    def folded(self) -> bool:
        """Whether texts are folded before they are encoded: then they don't come back."""

    def encode(self, text: str) -> list[int]:
        """The ids of a text, without begin and end."""

    def decode(self, ids: Iterable[int]) -> str:
        """The text up to the first end; padding and begin are skipped."""

    def pieces(self, ids: Iterable[int]) -> list[str]:
        """What each id stands for, to be shown in a picture."""

    def to_dict(self) -> dict[str, Any]:
        """What `vocabulary_from_dict` reads; only what JSON can hold."""


_KINDS: Final[Mapping[str, type[Subwords] | type[Characters] | type[Words]]] = {
    "subwords": Subwords,
    "characters": Characters,
    "words": Words,
}


def vocabulary_from_dict(values: Mapping[str, Any]) -> Vocabulary:
    """The vocabulary that `to_dict` described.

    Raises:
        ConveyorError: what no vocabulary has written.

    >>> vocabulary_from_dict(Characters("abc").to_dict())
    Characters(alphabet='abc', folded=False)
    """
    try:
        return _KINDS[values["kind"]].from_dict(values)
    except (KeyError, TypeError, ValueError) as error:
        raise lesson(
            "vocabulary_from_dict",
            f"what to_dict of {', '.join(_KINDS)} wrote",
            f"{str(values)[:80]} ({type(error).__name__}: {error})",
            "Write vocabulary_from_dict(Characters('abc').to_dict()).",
        ) from None


def learn_vocabularies(pairs: Iterable[Pair], config: TextConfig) -> tuple[Vocabulary, Vocabulary]:
    """The vocabularies of sources and targets; one and the same where `config.shared`.

    With `config.fold_source` the two differ in that alone: sources are folded, targets are not.

    Args:
        pairs: read once. Characters and words are those of all pairs; subwords are learnt from
            500,000 of them where there are more, the same ones each time.

    Raises:
        ConveyorError: no pairs; a vocabulary size that has no room for the characters.

    >>> pairs = [Pair("abc", "cd")]
    >>> source, target = learn_vocabularies(pairs, TextConfig(tokens="characters"))
    >>> source is target, source.alphabet
    (True, 'abcd')
    """
    learn = {"subwords": _subwords, "characters": _characters, "words": _words}[config.tokens]
    source, target = learn(_some(pairs), config)
    if source == target:
        return source, source
    return source, target


def _some(pairs: Iterable[Pair]) -> Iterable[Pair]:
    empty = True
    for pair in pairs:
        empty = False
        yield pair
    if empty:
        raise lesson(
            "learn_vocabularies", "pairs to learn from", "none", 'Write [Pair("4/3", "03-04")].'
        )


def _characters(pairs: Iterable[Pair], config: TextConfig) -> tuple[Vocabulary, Vocabulary]:
    sources: set[str] = set()
    targets: set[str] = set()
    for pair in pairs:
        sources.update(fold(pair.source) if config.fold_source else unicode_text(pair.source))
        targets.update(unicode_text(pair.target))
    if config.shared:
        sources = targets = sources | targets
    source, target = Characters("".join(sorted(sources))), Characters("".join(sorted(targets)))
    return replace(source, folded=config.fold_source), target


def _words(pairs: Iterable[Pair], config: TextConfig) -> tuple[Vocabulary, Vocabulary]:
    sources: Counter[str] = Counter()
    targets: Counter[str] = Counter()
    for pair in pairs:
        folded = fold(pair.source) if config.fold_source else unicode_text(pair.source)
        sources.update(split(folded))
        targets.update(split(unicode_text(pair.target)))
    if config.shared:
        sources = targets = sources + targets
    size = config.vocabulary_size
    source = Words.from_counts(sources, size=size, folded=config.fold_source)
    return source, Words.from_counts(targets, size=size)


def _subwords(pairs: Iterable[Pair], config: TextConfig) -> tuple[Vocabulary, Vocabulary]:
    sample = _sample(pairs)

    def learn(texts: Iterable[str]) -> Subwords:
        return Subwords.from_texts(
            texts,
            size=config.vocabulary_size,
            algorithm=config.algorithm,
            byte_fallback=config.byte_fallback,
        )

    sources = (fold(pair.source) if config.fold_source else pair.source for pair in sample)
    targets = (pair.target for pair in sample)
    if config.shared:
        target = learn(text for both in zip(sources, targets, strict=True) for text in both)
        return replace(target, folded=config.fold_source), target
    return replace(learn(sources), folded=config.fold_source), learn(targets)


def _sample(pairs: Iterable[Pair]) -> list[Pair]:
    """At most _LEARNED_FROM pairs, each as likely (Vitter 1985, algorithm R)."""
    rng = random.Random(0)
    sample: list[Pair] = []
    for number, pair in enumerate(pairs):
        if number < _LEARNED_FROM:
            sample.append(pair)
        elif (place := rng.randrange(number + 1)) < _LEARNED_FROM:
            sample[place] = pair
    return sample
