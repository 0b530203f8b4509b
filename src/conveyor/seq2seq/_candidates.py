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
from ._characters import BEGIN, END, PADDING, UNKNOWN

_NEVER = tuple(token for token in (PADDING, BEGIN, END, UNKNOWN) if token != END)
_SPECIAL = 1 + max(PADDING, BEGIN, END, UNKNOWN)
_LANES = 32  # a row of a block fills vectors


def normalizers(logits: Array) -> Array:
    """What to subtract from logits (N, V) for log probabilities: (N,)."""
    return ops.logsumexp(logits, axis=-1)


def likeliest(logits: Array, block: int | None = None) -> Array:
    """The token with the largest logit in each row (N, V) that may be written: (N,)."""
    block = block or _block_size(logits.shape[-1])
    best = ops.cast(ops.argmax(_maxima(logits, block), axis=-1), "int32")
    tokens = best[:, None] * block + ops.arange(block, dtype="int32")  # (N, block)
    within = ops.argmax(_of_tokens(logits, tokens), axis=-1)
    return best * block + ops.cast(within, "int32")


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
    size = logits.shape[-1]
    block = block or _block_size(size)
    beams = offsets.shape[-1]
    # Above: a shape. The axis of the sources may have any size.
    maxima = ops.reshape(_maxima(logits, block), (-1, beams, -(-size // block)))
    maxima = ops.reshape(maxima + offsets[:, :, None], (-1, beams * maxima.shape[-1]))
    blocks = top(maxima, min(count, maxima.shape[-1]))[1]
    # In order, so that of equal candidates the first is the one with the lowest index.
    blocks = ops.sort(blocks, axis=-1)
    per_beam = -(-size // block)
    beam = ops.repeat(blocks // per_beam, block, axis=-1)  # (B, blocks * block)
    starts = ops.repeat(blocks % per_beam * block, block, axis=-1)
    width = blocks.shape[-1]
    tokens = starts + ops.tile(ops.arange(block, dtype="int32"), width)
    of_source = ops.reshape(logits, (-1, beams * size))
    sums = _of_tokens(of_source, tokens, beam * size, size)
    sums = sums + ops.take_along_axis(offsets, beam, axis=-1)
    best, place = top(sums, count)
    return (
        best,
        ops.take_along_axis(beam, place, axis=-1),
        ops.take_along_axis(tokens, place, axis=-1),
    )


def top(values: Array, count: int) -> tuple[Array, Array]:
    """The largest values (B, count) of each row, and their places, of equals the first."""
    best, places = ops.top_k(values, count)
    places = ops.cast(places, "int32")
    if keras.backend.backend() != "torch":
        return best, places
    # torch.topk takes any of equals; a stable sort takes twenty times as long.
    if count < values.shape[-1]:
        more = ops.top_k(values, count + 1)[0]
    else:
        more = best
    if not ops.any(ops.logical_and(more[:, 1:] == more[:, :-1], more[:, 1:] > -math.inf)):
        return best, places
    places = ops.argsort(-values, axis=-1)[:, :count]
    return ops.take_along_axis(values, places, axis=-1), places


def _block_size(size: int) -> int:
    return _LANES * math.ceil(math.sqrt(size) / _LANES)


def _maxima(logits: Array, block: int) -> Array:
    """The largest logit of each block, of those that may be written: (N, blocks)."""
    size = logits.shape[-1]
    first = min(max(block, _SPECIAL), size)
    if first > block:
        raise ValueError(f"a block has at least {_SPECIAL} tokens")
    never = np.zeros(first, "float32")
    never[list(_NEVER)] = -math.inf
    parts = [ops.max(logits[:, :first] + never, axis=-1, keepdims=True)]
    whole = size // block * block
    if whole > block:
        middle = ops.reshape(logits[:, block:whole], (-1, whole // block - 1, block))
        parts.append(ops.max(middle, axis=-1))
    if block < size and whole < size:
        parts.append(ops.max(logits[:, whole:], axis=-1, keepdims=True))
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
