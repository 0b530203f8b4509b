"""Pairs of texts to padded batches of ids, in few lengths."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._errors import lesson
from ._characters import BEGIN, END, PADDING, Characters
from ._config import Config
from ._pairs import Pair

Tokens = NDArray[np.int32]
# What Keras's fit takes: the inputs by name, and the tokens to predict.
Batch = tuple[dict[str, Tokens], Tokens]

# So many batches are drawn together, then sorted by length, so that each is of similar lengths.
_BATCHES_SORTED_TOGETHER = 32


def pad(sequences: Sequence[Sequence[int]], length: int | None = None) -> Tokens:
    """Ids as one array (N, length), padded on the right; by default to the longest.

    >>> pad([[4, 5], [6]])
    array([[4, 5],
           [6, 0]], dtype=int32)
    """
    length = max(map(len, sequences)) if length is None else length
    padded = np.full((len(sequences), length), PADDING, dtype=np.int32)
    for row, sequence in zip(padded, sequences, strict=True):
        row[: len(sequence)] = sequence
    return padded


class Batches:
    """An endless stream of training batches, each pair once a round, in a new order each round.

    A batch is `({"source": (B, T), "target": (B, L)}, (B, L))`: the source, the target behind
    its begin, and the target before its end, which is what to predict. T is one of
    `config.length_groups` lengths, as a compiled backend compiles each length anew.

    Args:
        pairs: at least one.
        source, target: the vocabularies.
        config: its `batch_size`, `length_groups`, `seed` and `max_target_length`.

    Raises:
        ConveyorError: no pairs, an empty source, a target too long for the search to write.
    """

    def __init__(
        self, pairs: Sequence[Pair], source: Characters, target: Characters, config: Config
    ) -> None:
        if not pairs:
            raise lesson("train", "pairs to learn from", "none", 'Write [Pair("4/3", "03-04")].')
        sources = [source.encode(pair.source) for pair in pairs]
        targets = [[BEGIN, *target.encode(pair.target), END] for pair in pairs]
        self._lengths = np.array([len(s) for s in sources])
        _check(pairs, self._lengths, targets, config)
        self._sources, self._targets = pad(sources), pad(targets)
        self._group_lengths = group_lengths(self._lengths, config.length_groups)
        self._batch_size = config.batch_size
        self._rng = np.random.default_rng(config.seed)
        self.tokens_per_batch = config.batch_size * float(
            self._lengths.mean() + np.count_nonzero(self._targets[:, 1:]) / len(pairs)
        )

    def __iter__(self) -> Iterator[Batch]:
        while True:
            for rows in self._round():
                longest = self._lengths[rows].max()
                length = self._group_lengths[np.searchsorted(self._group_lengths, longest)]
                inputs = {
                    "source": self._sources[rows, :length],
                    "target": self._targets[rows, :-1],
                }
                yield inputs, self._targets[rows, 1:]

    def _round(self) -> Iterator[NDArray[Any]]:
        """The rows of each batch of one round."""
        order = self._rng.permutation(len(self._lengths))
        # Every batch is full: some pairs come twice to fill up the last one.
        order = np.resize(order, -(-len(order) // self._batch_size) * self._batch_size)
        window = _BATCHES_SORTED_TOGETHER * self._batch_size
        for start in range(0, len(order), window):
            drawn = order[start : start + window]
            drawn = drawn[np.argsort(self._lengths[drawn], kind="stable")]
            yield from self._rng.permutation(drawn.reshape(-1, self._batch_size))


def group_lengths(lengths: NDArray[Any], groups: int) -> NDArray[Any]:
    """The lengths to pad to: with so many groups, each holds as many sequences.

    >>> group_lengths(np.arange(1, 31), 3)
    array([10, 20, 30])
    """
    quantiles = np.linspace(0, 1, groups + 1)[1:]
    return np.unique(np.quantile(lengths, quantiles, method="lower"))


def _check(
    pairs: Sequence[Pair], lengths: NDArray[Any], targets: list[list[int]], config: Config
) -> None:
    if not lengths.all():
        empty = int(np.argmin(lengths))
        raise lesson(
            "train",
            "sources with something to read",
            f"{pairs[empty].source!r} as the source of pair {empty}",
            "Write pairs = [pair for pair in pairs if pair.source.strip()].",
        )
    longest = max(targets, key=len)
    steps = len(longest) - 1  # the begin is given, the end is to be written
    if steps > config.max_target_length:
        raise lesson(
            "train",
            f"targets that fit in max_target_length={config.max_target_length}, end included",
            f"one of {steps - 1} characters",
            f"Write Config(max_target_length={steps}).",
        )
