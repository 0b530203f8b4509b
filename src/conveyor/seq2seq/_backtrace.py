"""From what was written step by step to hypotheses."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from .._errors import lesson
from ._hypothesis import BeamTree, Floats, Hypothesis, Integers, length_penalty
from ._tokens import END, PADDING


@dataclass
class Written:
    """What was written for one source: pieces of (steps, K) each, as the search went on."""

    tokens: list[Integers] = field(default_factory=list)
    parents: list[Integers] = field(default_factory=list)
    log_probabilities: list[Floats] = field(default_factory=list)

    def add(self, tokens: Integers, parents: Integers, log_probabilities: Floats) -> None:
        """The next steps."""
        # Copies: a view would keep the records of the whole batch.
        self.tokens.append(tokens.copy())
        self.parents.append(parents.copy())
        self.log_probabilities.append(log_probabilities.copy())


@dataclass(frozen=True)
class Paths:
    """The same as one array each, up to the last step where a beam was in use."""

    tokens: Integers
    parents: Integers
    log_probabilities: Floats
    totals: Floats  # of all tokens so far

    @classmethod
    def of(cls, written: Written, *, beams: bool) -> Paths:
        """All steps; targets that are no beams go on from themselves."""
        tokens = np.concatenate(written.tokens)
        length = int(np.max(np.nonzero((tokens != PADDING).any(axis=1))[0], initial=-1)) + 1
        tokens = tokens[:length]
        parents = np.concatenate(written.parents)[:length]
        if not beams:
            parents = np.broadcast_to(np.arange(tokens.shape[1]), tokens.shape)
        in_use = tokens != PADDING
        logs = np.concatenate(written.log_probabilities)[:length].astype("float64")
        if not length or np.isnan(logs[in_use]).any():
            raise lesson(
                "search",
                "a model whose logits are numbers",
                "logits that are none (NaN, or -inf for every token)",
                "Look for weights that are NaN: conveyor.find_nonfinite(model, inputs). "
                "A training that went wrong is continued from an earlier checkpoint.",
            )
        logs = np.where(in_use, logs, -np.inf)
        totals = np.empty_like(logs)
        before = np.zeros(tokens.shape[1])
        for row, parent, here in zip(totals, parents, logs, strict=True):
            row[:] = before[parent] + here
            before = row
        return cls(tokens, parents, logs, totals)

    def follow(self, step: int, beam: int) -> Iterable[tuple[int, int]]:
        """Where (step, beam) came from, itself included, from the first step on."""
        path = []
        for here in range(step, -1, -1):
            path.append((here, beam))
            beam = int(self.parents[here, beam])
        return reversed(path)


def best_of_beams(paths: Paths, alpha: float, count: int) -> list[Hypothesis]:
    """The best hypotheses of a beam search, those that have ended before those that have not."""
    return _best(paths, _ends(paths), alpha, count)


def samples(paths: Paths, alpha: float) -> list[Hypothesis]:
    """Each target, best first."""
    lengths = (paths.tokens != PADDING).sum(axis=0)
    ends = [(int(length) - 1, k) for k, length in enumerate(lengths)]
    return _best(paths, ends, alpha, len(ends))


def tree_of(paths: Paths, hypotheses: list[Hypothesis]) -> BeamTree:
    """The search as a tree."""
    parents = np.where(paths.tokens != PADDING, paths.parents, -1)
    parents[:1] = -1
    return BeamTree(paths.tokens, parents, paths.totals, paths.tokens == END, hypotheses)


def nothing() -> Hypothesis:
    """The target of a source without tokens."""
    return Hypothesis([], 0.0, 0.0, [], True)


def _ends(paths: Paths) -> list[tuple[int, int]]:
    ends = [(int(step), int(beam)) for step, beam in np.argwhere(paths.tokens == END)]
    last = len(paths.tokens) - 1
    cut_off = np.nonzero(~np.isin(paths.tokens[last], (END, PADDING)))[0]
    return ends + [(last, int(beam)) for beam in cut_off]


def _best(paths: Paths, ends: list[tuple[int, int]], alpha: float, count: int) -> list[Hypothesis]:
    def rank(end: tuple[int, int]) -> tuple[bool, float]:
        return paths.tokens[end] != END, -_score(paths, end, alpha)

    return [_hypothesis(paths, end, alpha) for end in sorted(ends, key=rank)[:count]]


def _score(paths: Paths, end: tuple[int, int], alpha: float) -> float:
    return float(paths.totals[end]) / float(length_penalty(end[0] + 1, alpha))


def _hypothesis(paths: Paths, end: tuple[int, int], alpha: float) -> Hypothesis:
    way = list(paths.follow(*end))
    tokens = [int(paths.tokens[place]) for place in way]
    finished = tokens[-1] == END
    return Hypothesis(
        tokens[:-1] if finished else tokens,
        _score(paths, end, alpha),
        float(paths.totals[end]),
        [float(paths.log_probabilities[place]) for place in way],
        finished,
    )
