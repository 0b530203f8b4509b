"""No n-gram twice in a target."""

from __future__ import annotations

import math

from keras import ops

from ._arrays import Array
from ._tokens import PADDING


def without_repeats(logits: Array, history: Array, length: Array, n: int) -> Array:
    """Logits (N, V), -inf for each token that would end an n-gram that is in the history.

    Args:
        logits: of the next token.
        history: (N, H), the tokens written so far, then anything.
        length: how many are written.
        n: tokens in an n-gram, at least 1.

    >>> import numpy as np
    >>> history = np.array([[5, 6, 5, 0]])
    >>> barred = without_repeats(np.zeros((1, 8), "float32"), history, 3, 2)
    >>> ops.convert_to_numpy(barred)[0].tolist()
    [-inf, 0.0, 0.0, 0.0, 0.0, 0.0, -inf, 0.0]
    """
    history = ops.cast(history, "int32")  # NumPy's integers have 64 bits, the rows below 32
    windows = history.shape[-1] - n + 1  # places where an n-gram may begin
    if windows < 1:
        return logits
    matches = ops.arange(windows, dtype="int32") + n <= length
    matches = ops.broadcast_to(matches, ops.shape(history[:, :windows]))
    for k in range(n - 1):
        recent = ops.take(history, ops.maximum(length - (n - 1) + k, 0), axis=1)
        same = history[:, k : k + windows] == recent[:, None]
        matches = ops.logical_and(matches, same)
    # Padding is never written: where there is nothing to bar, it is barred once more.
    barred = ops.where(matches, history[:, n - 1 :], PADDING)
    size = logits.shape[-1]
    rows = ops.arange(ops.shape(barred)[0], dtype="int32")[:, None] * size
    places = ops.reshape(rows + barred, (-1, 1))
    minus_infinity = ops.full_like(ops.cast(places[:, 0], logits.dtype), -math.inf)
    flat = ops.scatter_update(ops.reshape(logits, (-1,)), places, minus_infinity)
    return ops.reshape(flat, (-1, size))
