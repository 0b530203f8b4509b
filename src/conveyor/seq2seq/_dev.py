"""The dev pairs at an evaluation of a training."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from typing import Final

from ._batches import Batches
from ._config import Config, TrainingConfig
from ._evaluation import Evaluation, evaluation_of, perplexity_of
from ._extras import sacrebleu_metrics
from ._history import Sample
from ._learner import Learner
from ._pairs import Pair
from ._search import search

_SAMPLES: Final = 2
_SHORT: Final = 100  # characters of a sample, where there are such


class DevPairs:
    """Perplexity of all dev pairs; BLEU, chrF and exact matches of the first of them.

    Args:
        learner: as it is when this is called.
        pairs: in order.
        batches: of the same pairs.
        config: its `training.dev_sentences` and `judge_by`; how long a translation can be.

    Raises:
        ImportError: BLEU or chrF is to judge, and sacrebleu is missing.
    """

    def __init__(
        self,
        learner: Learner,
        pairs: Sequence[Pair],
        batches: Batches,
        config: Config,
    ) -> None:
        self._learner = learner
        self._pairs = pairs
        self._batches = batches
        self._search = replace(config.search, beam=1, sample=False)
        self._translated = list(pairs[: config.training.dev_sentences or None])
        short = [n for n, pair in enumerate(self._translated) if len(pair.source) <= _SHORT]
        self._samples = [*short, *range(len(self._translated))][:_SAMPLES]
        self._bleu = _wants_bleu(config.training)

    def __call__(self) -> tuple[Evaluation, tuple[Sample, ...]]:
        """Measures and samples."""
        perplexity = self._perplexity()
        began = time.monotonic()
        written = self._translate()
        evaluation = evaluation_of(
            written,
            self._translated,
            seconds=time.monotonic() - began,
            target=self._learner.seq2seq.target,
            perplexity=perplexity,
            of_pairs=len(self._pairs),
            bleu=self._bleu,
        )
        samples = [
            Sample(self._pairs[n].source, self._pairs[n].target, written[n])
            for n in dict.fromkeys(self._samples)
        ]
        return evaluation, tuple(samples)

    def _translate(self) -> list[str]:
        model = self._learner.seq2seq
        sources = [model.source.encode(pair.source) for pair in self._translated]
        return [
            model.target.decode(best.tokens) for (best,) in search(model, sources, self._search)
        ]

    def _perplexity(self) -> float:
        cross_entropy, tokens = 0.0, 0
        for batch in islice(self._batches.stream(), self._batches.per_epoch(0)):
            logs = self._learner.test_on_batch(batch.inputs, return_dict=True)
            cross_entropy += float(logs["nll"]) * batch.target_tokens
            tokens += batch.target_tokens
        return perplexity_of(cross_entropy / tokens)


def _wants_bleu(config: TrainingConfig) -> bool:
    """Whether to compute BLEU and chrF: not where every letter counts, nor without sacrebleu."""
    if config.judge_by == "exact_match":
        return False
    try:
        sacrebleu_metrics()
    except ImportError:
        if config.judge_by != "perplexity":
            raise
        return False
    return True
