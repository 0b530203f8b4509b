"""Tokens drawn at random, with random numbers that are given: reproducible on every framework."""

from __future__ import annotations

import math

import numpy as np
from keras import ops

from ._arrays import Array
from ._tokens import BEGIN, END, PADDING, UNKNOWN

_HALVINGS = 32  # of the range of logits: then the limits of float32 are reached


def draw(logits: Array, uniforms: Array, temperature: Array, top_p: Array | None = None) -> Array:
    """One token for each row of logits (N, V): (N,).

    Each is drawn with its probability, softmax(logits / temperature), from the smallest set of
    the likeliest tokens that have `top_p` of it together (nucleus sampling, Holtzman et al.
    2020, doi:10.48550/arXiv.1904.09751; of equals at its edge all belong to it).

    Args:
        logits: padding, begin and unknown are never drawn.
        uniforms: (N,), from 0 to below 1; each decides its row.
        temperature: above 0.
        top_p: above 0; None: all tokens.
    """
    size = logits.shape[-1]
    never = np.zeros(size, "float32")
    never[[PADDING, BEGIN, UNKNOWN]] = -math.inf
    logits = logits + ops.convert_to_tensor(never)
    logits = (logits - ops.max(logits, axis=-1, keepdims=True)) / temperature
    weights = ops.exp(logits)
    if top_p is not None:
        weights = ops.where(logits >= _edge(logits, weights, top_p), weights, 0.0)
    # In two strides, over blocks and within one: sums over thousands of tokens are slow, and
    # too inexact to tell which token has no weight at all.
    block = math.ceil(math.sqrt(size))
    blocks = -(-size // block)
    weights = ops.pad(weights, ((0, 0), (0, blocks * block - size)))
    weights = ops.reshape(weights, (-1, blocks, block))
    masses = ops.sum(weights, axis=-1)
    mass = ops.sum(masses, axis=-1)
    chosen, before = _reach(masses, uniforms * mass)
    within = ops.take_along_axis(weights, chosen[:, None, None], axis=1)[:, 0]
    token = chosen * block + _reach(within, uniforms * mass - before)[0]
    return ops.where(mass > 0, token, END)  # False where logits are no numbers


def _edge(logits: Array, weights: Array, top_p: Array) -> Array:
    """The smallest logit (N, 1) that belongs to the nucleus.

    By halving: to sort takes ten times as long.
    """
    wanted = top_p * ops.sum(weights, axis=-1, keepdims=True)
    highest = ops.zeros_like(wanted)  # logits are below the largest one
    lowest = ops.min(ops.where(ops.isfinite(logits), logits, 0.0), axis=-1, keepdims=True)

    def halve(_: Array, edges: tuple[Array, Array]) -> tuple[Array, Array]:
        lowest, highest = edges
        middle = (lowest + highest) / 2
        mass = ops.sum(ops.where(logits >= middle, weights, 0.0), axis=-1, keepdims=True)
        enough = mass >= wanted
        return ops.where(enough, middle, lowest), ops.where(enough, highest, middle)

    edge, highest = ops.fori_loop(0, _HALVINGS, halve, (lowest, highest))
    # What is left between the two is one and the same logit, rounded.
    alone = ops.sum(ops.where(logits >= highest, weights, 0.0), axis=-1, keepdims=True)
    return ops.where(alone >= wanted, highest, edge)


def _reach(weights: Array, target: Array) -> tuple[Array, Array]:
    """Where the running sum of weights (N, M) passes its target, and the sum before that."""
    sums = ops.cumsum(weights, axis=-1)
    positive = weights > 0
    passed = ops.logical_and(sums > target[:, None], positive)
    first = ops.argmax(ops.cast(passed, "int32"), axis=-1)
    # Rounding may leave the target above all sums: then it is the last that has any weight.
    places = ops.arange(weights.shape[-1], dtype="int32")
    last = ops.max(ops.where(positive, places, 0), axis=-1)
    place = ops.where(ops.any(passed, axis=-1), ops.cast(first, "int32"), last)
    at = place[:, None]
    before = ops.take_along_axis(sums, at, axis=-1) - ops.take_along_axis(weights, at, axis=-1)
    return place, before[:, 0]
