"""How likely a model finds targets that are given."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from keras import ops

from ..layers import Compiled
from ..ops import linear_cross_entropy
from ._arrays import Array
from ._hypothesis import Floats
from ._model import Seq2Seq
from ._shapes import groups, padded
from ._tokens import BEGIN, END


@dataclass(frozen=True)
class PairScore:
    """How likely a target is, given its source.

    Attributes:
        log_probability: sum of `token_log_probabilities`.
        token_log_probabilities: of each token after those before it, and of the end.
        tokens: what each of them stands for, the end left out.
    """

    log_probability: float
    token_log_probabilities: list[float]
    tokens: list[str]

    @property
    def per_token(self) -> float:
        """The mean over the tokens, the end included."""
        return self.log_probability / max(1, len(self.token_log_probabilities))

    @property
    def perplexity(self) -> float:
        """exp(-per_token): 1 for what is certain."""
        return math.exp(min(700.0, -self.per_token))


def token_log_probabilities(
    models: Sequence[Seq2Seq],
    sources: Sequence[Sequence[int]],
    targets: Sequence[Sequence[int]],
    batch_tokens: int,
) -> list[list[float]]:
    """Of each token of each target, and of its end; of several models the mean probability.

    A source without tokens has the empty target for certain, as in a search, and no other.
    """
    lengths = [
        max(len(source), len(target) + 1) if len(source) else 0
        for source, target in zip(sources, targets, strict=True)
    ]
    found = [[0.0] if not target else [-math.inf] * (len(target) + 1) for target in targets]
    runs = [_compiled(model) for model in models]
    for group in groups(lengths, batch_tokens):
        shape = (group.rows, group.length)
        chosen = [targets[n] for n in group.members]
        source = padded([sources[n] for n in group.members], *shape)
        target = padded([[BEGIN, *each] for each in chosen], *shape)
        labels = padded([[*each, END] for each in chosen], *shape)
        every = [ops.convert_to_numpy(run(source, target, labels)) for run in runs]
        mean = _mean([each.astype("float64") for each in every])
        for n, row, each in zip(group.members, mean, chosen, strict=False):
            found[n] = row[: len(each) + 1].tolist()
    return found


def _mean(logs: list[Floats]) -> Iterator[Floats]:
    """Logarithm of the mean probability, row by row."""
    highest = np.max(logs, axis=0)
    summed = np.sum([np.exp(each - highest) for each in logs], axis=0)
    return iter(highest + np.log(summed / len(logs)))


def _compiled(model: Seq2Seq) -> Compiled:
    # Where and why: as of the searches of a model.
    kept = cast(Any, model).__dict__
    if "_compiled_scores" not in kept:

        def run(source: Array, target: Array, labels: Array) -> Array:
            vectors = model.vectors({"source": source, "target": target})
            kernel, bias = model.output_weights()
            # Never the logits of a whole batch: of 10,000 tokens they are 320 MB.
            _, cross_entropies, _ = linear_cross_entropy(
                ops.reshape(vectors, (-1, vectors.shape[-1])),
                ops.cast(kernel, vectors.dtype),
                ops.cast(bias, "float32"),
                ops.reshape(labels, (-1,)),
            )
            return -ops.reshape(cross_entropies, labels.shape)

        kept["_compiled_scores"] = Compiled(run, weights_of=[model])
    return cast(Compiled, kept["_compiled_scores"])
