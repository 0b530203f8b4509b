"""A few fixed shapes that most batches fill well, for backends that compile each shape."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

_EDGES: Final = 64  # lengths that may end a bucket
# Sources longer than most of their bucket go to the next one, so that few don't pad all.
_FITTING: Final = 0.9


class Shape(NamedTuple):
    """The arrays of a batch: source (pairs, source_steps), target (pairs, target_steps)."""

    pairs: int
    source_steps: int
    target_steps: int


def choose_shapes(
    sources: NDArray[Any], targets: NDArray[Any], *, tokens: int, most: int
) -> list[Shape]:
    """At most `most` shapes, ascending; the last one holds the longest.

    Their lengths are those that pad these pairs least, sources and targets together. Each has
    room for so many pairs that the tokens fill the batch first, nearly always.

    Args:
        sources, targets: the steps of each pair, (N,).
        tokens: target steps of a batch.

    >>> steps = np.array([2] * 90 + [9] * 10)
    >>> choose_shapes(steps, steps, tokens=18, most=2)
    [Shape(pairs=9, source_steps=2, target_steps=2), Shape(pairs=2, source_steps=9, target_steps=9)]
    """
    lengths = _lengths(sources, targets, tokens, most)
    bucket = fit([Shape(0, *length) for length in lengths], sources, targets)
    shapes = []
    for number, length in enumerate(lengths):
        inside = targets[bucket == number]
        if len(inside):
            shapes.append(Shape(_rows(inside, tokens), *length))
    return shapes


def fit(shapes: Sequence[Shape], sources: NDArray[Any], targets: NDArray[Any]) -> NDArray[Any]:
    """The number of the first shape that holds each pair; `len(shapes)` if none does."""
    return np.maximum(
        np.searchsorted([shape.source_steps for shape in shapes], sources),
        np.searchsorted([shape.target_steps for shape in shapes], targets),
    )


def _rows(steps: NDArray[Any], tokens: int) -> int:
    """How many pairs drawn from these have `tokens` steps, and three deviations more."""
    mean = steps.mean()
    enough = tokens / mean
    return min(len(steps), int(np.ceil(enough + 3 * steps.std() / mean * np.sqrt(enough))))


def _lengths(
    sources: NDArray[Any], targets: NDArray[Any], tokens: int, most: int
) -> list[tuple[int, int]]:
    """Source and target steps of each bucket: the cut of the targets with the least padding."""
    edges = np.unique(np.quantile(targets, np.linspace(0, 1, _EDGES + 1)[1:], method="higher"))
    # counts[e, s]: pairs of source length s with a target up to edge e - 1
    counts = np.zeros((len(edges) + 1, int(sources.max()) + 1), np.int64)
    np.add.at(counts, (np.searchsorted(edges, targets) + 1, sources), 1)
    counts = counts.cumsum(axis=0)

    @functools.cache
    def cost(start: int, end: int) -> tuple[float, int]:
        cumulative = (counts[end] - counts[start]).cumsum()
        pairs = int(cumulative[-1])
        longest = int(np.searchsorted(cumulative, _FITTING * pairs))
        target_steps = int(edges[end - 1])
        # An epoch ends each bucket with a batch that is half empty on average.
        half = tokens / target_steps / 2
        return (pairs + half) * (target_steps + longest), longest

    best = {0: (0.0, [0])}  # end -> the least cost so far, and the edges cut at
    done: list[tuple[float, list[int]]] = []
    for _ in range(most):
        best = {
            end: min(
                (before + cost(start, end)[0], [*cuts, end])
                for start, (before, cuts) in best.items()
                if start < end
            )
            for end in range(min(best) + 1, len(edges) + 1)
        }
        if len(edges) not in best:
            break
        done.append(best[len(edges)])
    cuts = min(done)[1]
    source_steps = np.maximum.accumulate([cost(*cut)[1] for cut in pairwise(cuts)])
    source_steps[-1] = sources.max()
    ends = edges[np.array(cuts[1:]) - 1]
    return [(int(s), int(t)) for s, t in zip(source_steps, ends, strict=True)]
