"""The likeliest of thousands of tokens, without sorting them.

`top_k` and `argmax` over a whole vocabulary take as long as the decoder on some frameworks (JAX
on a CPU: 5 ms for 64 x 5 rows of 8,000, argmax 20 ms; a maximum 0.2 ms). So the vocabulary is
cut into blocks: the k likeliest tokens are in the k blocks with the largest maxima. Of equals
the one with the lowest index is taken, everywhere.
"""

from __future__ import annotations

import math

import keras
import numpy as np
from keras import ops

from ._arrays import Array
from ._tokens import BEGIN, END, PADDING, UNKNOWN

_NEVER = (PADDING, BEGIN, UNKNOWN)  # all in the first block
_LANES = 32  # a row of a block fills vectors


def normalizers(logits: Array) -> Array:
    """What to subtract from logits (N, V) for log probabilities: (N,)."""
    return ops.logsumexp(logits, axis=-1)


def likeliest(logits: Array, block: int | None = None) -> Array:
    """The token with the largest logit in each row (N, V) that may be written: (N,).

    Where no logit is a number above -inf that is the end.
    """
    block = block or _block_size(logits.shape[-1])
    best = ops.cast(ops.argmax(_maxima(logits, block), axis=-1), "int32")
    tokens = best[:, None] * block + ops.arange(block, dtype="int32")  # (N, block)
    found = _of_tokens(logits, tokens)
    within = ops.cast(ops.argmax(found, axis=-1), "int32")
    return ops.where(ops.max(found, axis=-1) > -math.inf, best * block + within, END)


def top_candidates(
    logits: Array, offsets: Array, count: int, block: int | None = None
) -> tuple[Array, Array, Array]:
    """The `count` largest sums of a logit and the offset of its beam, for each source.

    Args:
        logits: (B * K, V), beams of a source next to each other.
        offsets: (B, K); -inf for beams not in use.
        count: how many.
        block: tokens in a block; by default a good number of them.

    Returns:
        The sums, largest first; their beams; their tokens: (B, count) each.
    """
    size, beams = logits.shape[-1], offsets.shape[-1]
    block = block or _block_size(size)
    per_beam = -(-size // block)
    maxima = ops.reshape(_maxima(logits, block), (-1, beams, per_beam)) + offsets[:, :, None]
    maxima = ops.reshape(maxima, (-1, beams * per_beam))
    blocks = top(maxima, min(count, beams * per_beam))[1]
    # In order, so that of equal candidates the first is the one with the lowest index.
    blocks = ops.repeat(ops.sort(blocks, axis=-1), block, axis=-1)
    beam = blocks // per_beam
    places = ops.arange(blocks.shape[-1], dtype="int32") % block
    tokens = blocks % per_beam * block + places
    found = _of_tokens(ops.reshape(logits, (-1, beams * size)), tokens, beam * size, size)
    best, place = top(found + ops.take_along_axis(offsets, beam, axis=-1), count)
    return (
        best,
        ops.take_along_axis(beam, place, axis=-1),
        ops.take_along_axis(tokens, place, axis=-1),
    )


def top(values: Array, count: int) -> tuple[Array, Array]:
    """The largest values (B, count) of each row, and their places, of equals the first."""
    on_torch = keras.backend.backend() == "torch"
    best, places = ops.top_k(values, min(count + on_torch, values.shape[-1]))
    if on_torch:
        # torch.topk takes any of equals; a stable sort, twenty times as long, takes the first.
        equal = ops.logical_and(best[:, 1:] == best[:, :-1], best[:, 1:] > -math.inf)
        if ops.any(equal):
            places = ops.argsort(-values, axis=-1)
    return best[:, :count], ops.cast(places[:, :count], "int32")


def _block_size(size: int) -> int:
    return _LANES * math.ceil(math.sqrt(size) / _LANES)


def _maxima(logits: Array, block: int) -> Array:
    """The largest logit of each block, of those that may be written: (N, blocks)."""
    size = logits.shape[-1]
    never = np.zeros(min(block, size), "float32")
    never[list(_NEVER)] = -math.inf
    whole = size // block  # a last block that is not whole is a part of its own
    first = logits[:, :block] + ops.convert_to_tensor(never)
    parts = [ops.max(first, axis=-1, keepdims=True)]
    if whole > 1:
        middle = logits[:, block : whole * block]
        parts.append(ops.max(ops.reshape(middle, (-1, whole - 1, block)), axis=-1))
    if size > max(1, whole) * block:
        parts.append(ops.max(logits[:, whole * block :], axis=-1, keepdims=True))
    return ops.concatenate(parts, axis=-1)


def _of_tokens(
    logits: Array, tokens: Array, starts: Array | int = 0, size: int | None = None
) -> Array:
    """Logits of tokens in each row, -inf for those that may not be written or don't exist."""
    size = logits.shape[-1] if size is None else size
    found = ops.take_along_axis(logits, starts + ops.minimum(tokens, size - 1), axis=-1)
    fits = tokens < size
    for token in _NEVER:
        fits = ops.logical_and(fits, tokens != token)
    return ops.where(fits, found, -math.inf)
