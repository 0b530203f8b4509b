"""The samples that a model is called with: how many there are, and a few of them at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from .._errors import lesson


def as_samples(x: Any, where: str) -> tuple[Any, int]:
    """`x` with an array at each leaf, and the number of samples.

    Args:
        x: what the model is called with: an array, or arrays in lists, tuples and dicts.
        where: the function, for errors.

    Raises:
        ConveyorError: no samples, or another number of them in each array.
    """
    if isinstance(x, list) and not any(_is_array(leaf) for leaf in keras.tree.flatten(x)):
        x = np.asarray(x)  # numbers in lists
    x = keras.tree.map_structure(lambda leaf: leaf if _is_array(leaf) else np.asarray(leaf), x)
    counts = {leaf.shape[0] if len(leaf.shape) else None for leaf in keras.tree.flatten(x)}
    count = counts.pop() if len(counts) == 1 else None
    if not count:
        shapes = [tuple(leaf.shape) for leaf in keras.tree.flatten(x)]
        raise lesson(
            where,
            "x with one or more samples, as many in each array",
            f"shapes {', '.join(map(str, shapes)) or 'none'}",
            f"Write {where}(model, x[:100]) for the first hundred samples; x[None] makes one "
            "sequence a batch of one.",
        )
    return x, int(count)


def as_targets(y: Any, samples: int, where: str) -> Any:
    """`y` with an array at each leaf; None stays None.

    Raises:
        ConveyorError: other than a target for each sample.
    """
    if y is None:
        return None
    y, targets = as_samples(y, where)
    if targets != samples:
        raise lesson(
            where,
            f"y for each of the {samples} samples",
            f"{targets} of them",
            f"Write {where}(model, x[:100], y[:100]).",
        )
    return y


def check_count(number: Any, name: str, where: str) -> None:
    """Raise where a number of samples is none."""
    if not isinstance(number, int) or number < 1:
        raise lesson(
            where, f"{name} to be a whole number from 1 on", repr(number), f"Write {name}=32."
        )


def _is_array(leaf: Any) -> bool:
    return hasattr(leaf, "shape") and hasattr(leaf, "dtype")


def batches(count: int, batch_size: int) -> Iterator[slice]:
    """The places of the samples of each batch."""
    for start in range(0, count, batch_size):
        yield slice(start, min(count, start + batch_size))


def take(x: Any, part: slice) -> Any:
    """The samples of a batch."""
    return keras.tree.map_structure(lambda leaf: leaf[part], x)
