"""How good a translator is, by the field's measures."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Measures of a translator on pairs that it has not learned from.

    BLEU (Papineni et al. 2002) and chrF (Popović 2015) are sacrebleu's (Post 2018), from 0 to
    100; the signatures say with which settings. Perplexity is the exponential of the cross
    entropy of a target token.
    """

    pairs: int
    perplexity: float
    translated: int  # of the pairs; BLEU, chrF and exact match are of these
    bleu: float | None = None  # None: nothing was translated, or sacrebleu is not there
    chrf: float | None = None
    exact_match: float | None = None  # share of translations equal to the target, from 0 to 1
    bleu_signature: str = ""
    chrf_signature: str = ""
    sentences_per_second: float | None = None  # of the search
    tokens_per_second: float | None = None  # written by it


def perplexity(cross_entropy: float) -> float:
    """Of the cross entropy per token; infinite where it is beyond all numbers.

    >>> perplexity(0.0), perplexity(1000.0)
    (1.0, inf)
    """
    try:
        return math.exp(cross_entropy)
    except OverflowError:
        return math.inf
