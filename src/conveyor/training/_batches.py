"""Batches of whole sequences, of whatever `fit` takes."""

from __future__ import annotations

import types
from collections.abc import Iterator
from itertools import chain
from typing import Any

import keras

# Keras has no public name for them.
from keras.src.trainers.data_adapters import data_adapter_utils, get_data_adapter
from keras.src.trainers.data_adapters.array_data_adapter import ArrayDataAdapter

from .._errors import lesson
from ._time_axis import WHERE


class Batches:
    """An epoch of batches, again and again: NumPy arrays, as (x,), (x, y) or (x, y, weights).

    Attributes:
        sample: a batch.
        count: how many an epoch has, and None where only its end will tell. Then all are as
            long as `sample`.
    """

    def __init__(self, x: Any, *, steps: int | None, shuffle: Any, **given: Any) -> None:
        self._steps = steps
        self._stream: Iterator[Any] | None = None
        self._adapter: Any = None
        if isinstance(x, types.GeneratorType) and all(v is None for v in given.values()):
            self._stream = map(_as_tuple, data_adapter_utils.get_numpy_iterator(x))
            self.sample = self._next(at_first=True)
            self._stream = chain([self.sample], self._stream)
        else:
            self._adapter = get_data_adapter(x, shuffle=shuffle, **given)
            # Not from the one above: it would shuffle once more than `fit` does.
            plain = get_data_adapter(x, shuffle=False, **given)
            self.sample = next(map(_as_tuple, plain.get_numpy_iterator()))
        arrays = isinstance(self._adapter, ArrayDataAdapter) and steps is None
        self.count: int | None = self._adapter.num_batches if arrays else None

    def epoch(self) -> Iterator[Any]:
        """The batches of one epoch."""
        if self._stream is None and self._steps is None:
            yield from self._new()
            return
        seen = 0
        while self._steps is None or seen < self._steps:
            batch = self._next(at_first=seen == 0)
            if batch is None:
                return
            seen += 1
            yield batch

    def _new(self) -> Iterator[Any]:
        return map(_as_tuple, self._adapter.get_numpy_iterator())

    def _next(self, at_first: bool) -> Any:
        """Of a stream that goes on from epoch to epoch."""
        if self._stream is None:
            self._stream = self._new()
        batch = next(self._stream, None)
        if batch is None and self._adapter is not None:
            self._stream = self._new()
            batch = next(self._stream, None)
        elif batch is None and at_first:
            raise lesson(
                WHERE,
                "a batch or more in every epoch",
                "a generator that has ended",
                "Write epochs=1, or a generator without an end with steps_per_epoch=, or a "
                "keras.utils.PyDataset.",
            )
        return batch

    def on_epoch_begin(self) -> None:
        if self._adapter is not None:
            self._adapter.on_epoch_begin()

    def on_epoch_end(self) -> None:
        if self._adapter is not None:
            self._adapter.on_epoch_end()


def _as_tuple(batch: Any) -> tuple[Any, ...]:
    """(x,), (x, y) or (x, y, weights), without the Nones at the end."""
    # TensorFlow knows no lists in data.
    x, y, weights = map(
        keras.tree.lists_to_tuples, data_adapter_utils.unpack_x_y_sample_weight(batch)
    )
    return (x,) if y is None else (x, y) if weights is None else (x, y, weights)
