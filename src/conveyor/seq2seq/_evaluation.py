"""How good translations are, by the field's measures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .._errors import lesson
from ._extras import sacrebleu_metrics
from ._pairs import Pair
from ._vocabulary import Vocabulary


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Measures of a translator on pairs that it has not learned from.

    BLEU (Papineni et al. 2002) and chrF (Popović 2015) are sacrebleu's (Post 2018), from 0 to
    100; the signatures say with which settings. Perplexity is the exponential of the cross
    entropy of a target token, END included.
    """

    pairs: int  # that perplexity is of
    perplexity: float
    translated: int  # pairs that all the rest is of
    bleu: float | None = None  # None: not asked for
    chrf: float | None = None
    bleu_signature: str = ""
    chrf_signature: str = ""
    exact_match: float  # share of translations equal to their target, from 0 to 1
    sentences_per_second: float  # of the search
    tokens_per_second: float  # that it wrote, END included


def evaluation_of(
    written: Sequence[str],
    pairs: Sequence[Pair],
    *,
    seconds: float,
    target: Vocabulary,
    perplexity: float,
    of_pairs: int,
    bleu: bool = True,
    tokenize: str = "13a",
) -> Evaluation:
    """Measures of what was written for the sources of these pairs.

    Args:
        written: translations.
        pairs: with the targets to compare with.
        seconds: that the search took.
        target: vocabulary, to count tokens.
        perplexity: of `of_pairs` pairs.
        bleu: whether BLEU and chrF are wanted, which sacrebleu computes.
        tokenize: of sacrebleu's BLEU: "13a"; "zh", "ja-mecab", "char" for text without spaces.
    """
    targets = [pair.target for pair in pairs]
    found = bleu_and_chrf(written, targets, tokenize=tokenize) if bleu else {}
    tokens = sum(len(target.encode(text)) + 1 for text in written)
    return Evaluation(
        pairs=of_pairs,
        perplexity=perplexity,
        translated=len(pairs),
        exact_match=sum(map(str.__eq__, written, targets)) / len(pairs),
        sentences_per_second=len(pairs) / seconds,
        tokens_per_second=tokens / seconds,
        **found,
    )


def bleu_and_chrf(
    written: Sequence[str], targets: Sequence[str], *, tokenize: str = "13a"
) -> dict[str, Any]:
    """Of a whole corpus, with their signatures.

    >>> found = bleu_and_chrf(["the cat sat on a mat"], ["the cat sat on the mat"])
    >>> round(found["bleu"], 1), round(found["chrf"], 1)
    (53.7, 66.0)

    Raises:
        ConveyorError: a tokenization that sacrebleu does not have.
        ImportError: sacrebleu is missing; the message says how to install it.
    """
    metrics = sacrebleu_metrics()
    known = metrics.BLEU.TOKENIZERS
    if tokenize not in known:
        raise lesson(
            "evaluate", f"tokenize= one of {', '.join(known)}", repr(tokenize), 'Write "13a".'
        )
    # force: no advice on standard error where lines end in tokenized periods.
    bleu, chrf = metrics.BLEU(tokenize=tokenize, force=True), metrics.CHRF()
    return {
        "bleu": float(bleu.corpus_score(list(written), [list(targets)]).score),
        "chrf": float(chrf.corpus_score(list(written), [list(targets)]).score),
        "bleu_signature": str(bleu.get_signature()),
        "chrf_signature": str(chrf.get_signature()),
    }


def perplexity_of(cross_entropy: float) -> float:
    """Of the cross entropy per token; infinite where it is beyond all numbers.

    >>> perplexity_of(0.0), perplexity_of(1000.0)
    (1.0, inf)
    """
    try:
        return math.exp(cross_entropy)
    except OverflowError:
        return math.inf
