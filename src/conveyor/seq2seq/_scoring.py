"""How good a translator is, on pairs it has not learned from."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Unpack

import keras

from .._errors import lesson
from ._evaluation import Evaluation, evaluation_of, perplexity_of
from ._pairs import Pair
from ._translator import SearchSettings, Translator


def evaluate(
    translator: Translator,
    pairs: Iterable[Pair],
    *,
    tokenize: str = "13a",
    **settings: Unpack[SearchSettings],
) -> Evaluation:
    """Translate the sources of these pairs, and compare with their targets.

    Args:
        translator: one model, or several together.
        pairs: a corpus, or pairs in memory.
        tokenize: of sacrebleu's BLEU; see `Evaluation`.
        **settings: of the search, in place of the translator's own: `beam=1`.

    Raises:
        ConveyorError: no pairs; a tokenization that sacrebleu does not have.
        ImportError: sacrebleu is missing; the message says how to install it.
    """
    judged = list(pairs)
    if not judged:
        raise lesson(
            "evaluate", "pairs to judge by", "none", 'Write evaluate(translator, [Pair("a", "b")]).'
        )
    sources = [pair.source for pair in judged]
    if keras.backend.backend() != "torch":
        translator.translate(sources, **settings)  # compiled, which is no part of the speed
    began = time.perf_counter()
    written = translator.translate(sources, **settings)
    seconds = time.perf_counter() - began
    scored = [found.token_log_probabilities for found in translator.score(judged)]
    tokens = max(1, sum(map(len, scored)))
    return evaluation_of(
        written,
        judged,
        seconds=seconds,
        target=translator.target,
        perplexity=perplexity_of(-sum(map(sum, scored)) / tokens),
        of_pairs=len(judged),
        tokenize=tokenize,
    )


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
    written = translator([pair.source for pair in pairs])
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
