"""The likeliest tokens to come next, without sorting thousands of them.

Of a single model `ops.linear_top_k` finds them while it computes the logits. Where all logits are
needed (of several models, or to bar some), the vocabulary is cut into blocks: the k likeliest
tokens are in the k blocks with the largest maxima. `top_k` and `argmax` over a whole vocabulary
take as long as the decoder on some frameworks (JAX on a CPU: 5 ms for 64 x 5 rows of 8,000, argmax
20 ms; a maximum 0.2 ms). Of equals the first is taken, everywhere.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from ..ops import linear_top_k
from ._arrays import Array
from ._tokens import BEGIN, END, PADDING, UNKNOWN

_NEVER = (PADDING, BEGIN, UNKNOWN)  # all in the first block
_LANES = 32  # a row of a block fills vectors


class Candidates(NamedTuple):
    """The best continuations of the beams of each source, best first: (B, count) each."""

    totals: Array  # log probabilities of all tokens; -inf where there are no more
    beams: Array
    tokens: Array
    log_probabilities: Array  # of this token


def best_of_vectors(
    vectors: Array, kernel: Array, bias: Array, before: Array, count: int
) -> Candidates:
    """The best continuations, by the vectors (N, A) that logits are made of.

    Args:
        vectors: N = B * K, beams of a source next to each other.
        kernel: (V, A).
        bias: (V,).
        before: (B, K), log probabilities of the beams; -inf for those not in use.
        count: how many.
    """
    size, beams = kernel.shape[0], before.shape[-1]
    # As many more as may never be written.
    values, tokens, normalizer = linear_top_k(vectors, kernel, bias, min(count + len(_NEVER), size))
    each = values.shape[-1]
    logs = ops.reshape(values - normalizer[:, None], (-1, beams * each))
    tokens = ops.reshape(tokens, (-1, beams * each))
    totals = ops.where(_may_be_written(tokens), logs + ops.repeat(before, each, axis=1), -math.inf)
    best, places = top(totals, count)
    tokens, logs = (ops.take_along_axis(a, places, axis=1) for a in (tokens, logs))
    return Candidates(best, places // each, _or_end(best, tokens), logs)


def best_of_logits(
    logits: Array, allowed: Array, before: Array, count: int, block: int | None = None
) -> Candidates:
    """The best continuations, by all logits.

    Args:
        logits: (N, V), beams of a source next to each other.
        allowed: the same, -inf for what may not be written.
        before, count: as above.
        block: tokens in a block; by default a good number of them.
    """
    size, beams = logits.shape[-1], before.shape[-1]
    normalizer = ops.reshape(normalizers(logits), (-1, beams))
    best, beam, tokens = top_candidates(allowed, before - normalizer, count, block)
    tokens = _or_end(best, tokens)
    of_source = ops.reshape(logits, (-1, beams * size))
    logs = ops.take_along_axis(of_source, beam * size + tokens, axis=1)
    return Candidates(best, beam, tokens, logs - ops.take_along_axis(normalizer, beam, axis=1))


def normalizers(logits: Array) -> Array:
    """What to subtract from logits (N, V) for log probabilities: (N,)."""
    return ops.logsumexp(logits, axis=-1)


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


def _of_tokens(logits: Array, tokens: Array, starts: Array, size: int) -> Array:
    """Logits of tokens in each row, -inf for those that may not be written or don't exist."""
    found = ops.take_along_axis(logits, starts + ops.minimum(tokens, size - 1), axis=-1)
    fits = ops.logical_and(tokens < size, _may_be_written(tokens))
    return ops.where(fits, found, -math.inf)


def _may_be_written(tokens: Array) -> Array:
    may = tokens != _NEVER[0]
    for token in _NEVER[1:]:
        may = ops.logical_and(may, tokens != token)
    return may


def _or_end(totals: Array, tokens: Array) -> Array:
    """Where totals are no numbers, as the model's weights are none, tokens are none either."""
    return ops.where(totals > -math.inf, tokens, END)
