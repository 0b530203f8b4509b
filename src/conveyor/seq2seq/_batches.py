"""Pairs of token ids to batches of about as many target tokens each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._errors import lesson
from ._buckets import Shape, choose_shapes, fit
from ._config import DataConfig
from ._encoded import EncodedPairs, Side
from ._tokens import BEGIN, END, PADDING

Tokens = NDArray[np.int32]

# So many batches are drawn together, then sorted by length, so that each is of similar lengths.
_SORTED_TOGETHER: Final = 200

# Steps of the optimizer are what a small corpus is short of, and a batch of fewer tokens than the
# least keeps no processor busy.
_LEAST, _MOST, _PER_EPOCH = 300, 1_500, 200


def pad(sequences: Sequence[Sequence[int]], length: int | None = None) -> Tokens:
    """Ids as one array (N, length), padded on the right; by default to the longest.

    >>> pad([[4, 5], [6]])
    array([[4, 5],
           [6, 0]], dtype=int32)
    """
    length = max(map(len, sequences), default=0) if length is None else length
    padded = np.full((len(sequences), length), PADDING, dtype=np.int32)
    for row, sequence in zip(padded, sequences, strict=True):
        row[: len(sequence)] = sequence
    return padded


class Position(NamedTuple):
    """A place in the stream of batches: so many epochs, and so many batches of the next."""

    epoch: int = 0
    batch: int = 0


_START: Final = Position()


@dataclass(frozen=True, eq=False)
class Batch:
    """Pairs to learn from together.

    Attributes:
        inputs: int32 arrays. `source` (B, T): sources, padded with 0 on the right. `target`
            (B, L): BEGIN and the target, padded. `positions` (N,): which of the B * L target
            steps count, then zeros. `labels` (N,): the token to predict at each of these, the
            last one of a pair is END; then zeros. Rows without a pair are all padding.
        position: of the batch after this one.
        indices: which pairs these are.
        source_tokens, target_tokens: real ones; END is one of the target's.
    """

    inputs: dict[str, Tokens]
    position: Position
    indices: NDArray[Any]
    source_tokens: int
    target_tokens: int

    @property
    def pairs(self) -> int:
        """How many."""
        return len(self.indices)


class Batches:
    """An endless stream of batches: each pair once an epoch, in a new order each epoch.

    A batch takes pairs until the next one would exceed `config.batch_tokens` target tokens.
    The order follows from `config.seed` and the epoch alone, so a stream can go on anywhere.

    Args:
        encoded: the pairs.
        config: its `batch_tokens`, `length_buckets` and `seed`.
        fixed_shapes: whether batches have one of at most `length_buckets` shapes, as backends
            that compile want it; otherwise they are as long as their longest pair.
        shapes: those of other batches, to share what was compiled for them; one is added if
            some pairs fit in none.

    Attributes:
        tokens: target tokens of a batch, at most.
        shapes: that batches can have; empty without `fixed_shapes`.

    Raises:
        ConveyorError: a target that is longer than a batch.

    >>> from conveyor.seq2seq import Characters, Pair
    >>> from conveyor.seq2seq._encoded import encode_pairs
    >>> characters = Characters("abc")
    >>> encoded = encode_pairs([Pair("abc", "cb")], characters, characters, DataConfig())
    >>> batch = next(Batches(encoded, DataConfig(batch_tokens=5), fixed_shapes=False).stream())
    >>> {name: ids.tolist() for name, ids in batch.inputs.items()}
    {'source': [[4, 5, 6]], 'target': [[1, 6, 5]], 'positions': [0, 1, 2, 0, 0],
     'labels': [6, 5, 2, 0, 0]}
    """

    def __init__(
        self,
        encoded: EncodedPairs,
        config: DataConfig,
        *,
        fixed_shapes: bool,
        shapes: Sequence[Shape] = (),
    ) -> None:
        self._source, self._target = encoded.source, encoded.target
        self._steps = encoded.target.lengths + 1  # END
        self._seed = config.seed
        longest = int(self._steps.max())
        self.tokens = config.batch_tokens or max(longest, _usual(int(self._steps.sum())))
        if longest > self.tokens:
            raise lesson(
                "Batches",
                "batch_tokens that the longest target fits in, END included",
                f"batch_tokens={self.tokens}, and a target of {longest}",
                f"Write DataConfig(batch_tokens={longest}), "
                f"or max_target_tokens={self.tokens - 1} to leave such pairs out.",
            )
        self.shapes: tuple[Shape, ...] = ()
        self._bucket = np.zeros(len(encoded), np.int64)
        if fixed_shapes:
            self.shapes = tuple(shapes) or tuple(
                choose_shapes(
                    self._source.lengths,
                    self._steps,
                    tokens=self.tokens,
                    most=config.length_buckets,
                )
            )
            self._bucket = fit(self.shapes, self._source.lengths, self._steps)
            outside = self._bucket == len(self.shapes)
            if outside.any():
                lengths = self._source.lengths[outside], self._steps[outside]
                self.shapes += tuple(choose_shapes(*lengths, tokens=self.tokens, most=1))
        self._planned: tuple[int, list[NDArray[Any]]] | None = None

    def per_epoch(self, epoch: int) -> int:
        """How many batches an epoch has; the next may have a few more or less."""
        return len(self._plan(epoch))

    def stream(self, position: Position = _START) -> Iterator[Batch]:
        """The batches from a position on, without end.

        Raises:
            ConveyorError: a position that this stream never has.
        """
        epoch, start = position
        if epoch < 0 or not 0 <= start <= self.per_epoch(max(0, epoch)):
            raise lesson(
                "Batches.stream",
                f"a batch of an epoch ({self.per_epoch(max(0, epoch))} in this one)",
                str(position),
                "Write Position(0, 0), or the position of a batch of these pairs and settings.",
            )
        while True:
            plan = self._plan(epoch)
            for number in range(start, len(plan)):
                last = number + 1 == len(plan)
                after = Position(epoch + 1, 0) if last else Position(epoch, number + 1)
                yield self._batch(plan[number], after)
            epoch, start = epoch + 1, 0

    def _plan(self, epoch: int) -> list[NDArray[Any]]:
        """The pairs of each batch of an epoch."""
        if self._planned is None or self._planned[0] != epoch:
            self._planned = (epoch, self._draw(np.random.default_rng((self._seed, epoch))))
        return self._planned[1]

    def _draw(self, rng: np.random.Generator) -> list[NDArray[Any]]:
        order = rng.permutation(len(self._steps))
        if self.shapes:
            order = order[np.argsort(self._bucket[order], kind="stable")]
        else:
            order = self._sorted_in_windows(order)
        plan = self._cut(order)
        rng.shuffle(plan)
        return plan

    def _sorted_in_windows(self, order: NDArray[Any]) -> NDArray[Any]:
        per_window = max(1, int(_SORTED_TOGETHER * self.tokens / self._steps.mean()))
        window = np.arange(len(order)) // per_window
        # Up and down in turn: a batch across two windows is of similar lengths, too.
        sign = 1 - 2 * (window % 2)
        sources, targets = self._source.lengths[order], self._steps[order]
        return order[np.lexsort((sign * sources, sign * targets, window))]

    def _cut(self, order: NDArray[Any]) -> list[NDArray[Any]]:
        """Batches of consecutive pairs of one bucket, each as full as it can be."""
        ends = np.cumsum(self._steps[order], dtype=np.int64)
        buckets = self._bucket[order]
        plan = []
        start = before = 0
        while start < len(order):
            end = int(np.searchsorted(ends, before + self.tokens, "right"))
            bucket = int(buckets[start])
            if self.shapes:
                of_bucket = int(np.searchsorted(buckets, bucket, "right"))
                end = min(end, of_bucket, start + self.shapes[bucket].pairs)
            plan.append(order[start:end])
            start, before = end, int(ends[end - 1])
        return plan

    def _batch(self, indices: NDArray[Any], after: Position) -> Batch:
        lengths, steps = self._source.lengths[indices], self._steps[indices]
        shape = Shape(len(indices), int(lengths.max()), int(steps.max()))
        if self.shapes:
            shape = self.shapes[self._bucket[indices[0]]]
        source = np.zeros((shape.pairs, shape.source_steps), np.int32)
        _fill(source, self._source, indices)
        target = np.zeros((shape.pairs, shape.target_steps + 1), np.int32)
        target[: len(indices), 0] = BEGIN
        _fill(target[:, 1:], self._target, indices)
        following = target[:, 1:].copy()
        following[np.arange(len(indices)), steps - 1] = END
        counting = np.flatnonzero(following)
        positions, labels = np.zeros((2, self.tokens), np.int32)
        positions[: len(counting)] = counting
        labels[: len(counting)] = following.ravel()[counting]
        inputs = {
            "source": source,
            "target": np.ascontiguousarray(target[:, :-1]),
            "positions": positions,
            "labels": labels,
        }
        return Batch(inputs, after, indices, int(lengths.sum()), len(counting))


def _usual(tokens: int) -> int:
    return min(max(tokens // _PER_EPOCH, _LEAST), _MOST)


def _fill(rows: Tokens, side: Side, indices: NDArray[Any]) -> None:
    """Write the tokens of these pairs to the beginnings of the rows."""
    steps = np.arange(rows.shape[1])
    row, step = np.nonzero(steps < side.lengths[indices][:, None])
    rows[row, step] = side.tokens[side.starts[indices][row] + step]
