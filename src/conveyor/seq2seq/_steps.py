"""What a search does at a step: once for independent targets, once for beams.

Arrays are (B, K): B sources, K targets of each at a time. A carry is what goes from step to
step; a record is what was written: tokens, parents, log probabilities.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import keras
from keras import ops

from ._arrays import Array
from ._candidates import Candidates, best_of_logits, best_of_vectors, normalizers, top
from ._ensemble import Ensemble
from ._hypothesis import length_penalty
from ._repeats import without_repeats
from ._sampling import draw
from ._tokens import BEGIN, END, PADDING

Carry = dict[str, Any]
Record = tuple[Array, Array, Array]


@dataclass(frozen=True)
class Plan:
    """What differs between compiled searches; all else is given to them as arrays."""

    way: Literal["greedy", "sample", "beam"]
    width: int = 1  # K
    best: int = 1  # a beam search ends when so many can no longer be beaten
    ngram: int = 0  # not twice in a target; 0: as often as it likes
    nucleus: bool = False


def begin(plan: Plan, states: list[Any], given: dict[str, Array], capacity: Array) -> Carry:
    """The carry of the first step.

    Args:
        plan: of the search.
        states: of the models, B * K rows.
        given: see `step`.
        capacity: (H,), anything: as long as the longest target, where the plan needs it.
    """
    limits = ops.repeat(given["limits"][:, None], plan.width, axis=1)
    zeros = ops.zeros_like(limits)
    in_use = limits > 0
    carry: Carry = {"states": states, "last": ops.full_like(zeros, BEGIN)}
    if plan.ngram:
        carry["history"] = zeros[:, :, None] + ops.zeros_like(capacity)[None, None, :]
    if plan.way != "beam":
        return {**carry, "in_use": in_use}
    # All beams are the same at first: one of them goes on.
    first = ops.logical_and(in_use, ops.arange(plan.width) == 0)
    total = ops.cast(ops.where(first, 0.0, -math.inf), "float32")
    finished = ops.zeros_like(total[:, : plan.best]) - math.inf
    return {**carry, "total": total, "room": zeros[:, 0] + plan.width, "finished": finished}


def unfinished(plan: Plan, carry: Carry) -> Array:
    """Which sources have targets to be written on: (B,)."""
    in_use = carry["total"] > -math.inf if plan.way == "beam" else carry["in_use"]
    return ops.any(in_use, axis=1)


def step(
    plan: Plan,
    models: Ensemble,
    output: tuple[Array, Array] | None,
    memory: Any,
    carry: Carry,
    number: Array,
    given: dict[str, Array],
) -> tuple[Carry, Record]:
    """Writes one token of each target.

    Args:
        plan: of the search.
        models: that write.
        output: kernel and bias of the logits, where vectors are enough for this plan.
        memory: of the models, B rows.
        carry: of the step before.
        number: of the step, from 0.
        given: `limits` (B,), steps after which targets are cut off, 0 for no source at all;
            of a beam search `alpha`; of samples `uniforms` (B, K), `temperature`, `top_p`.
    """
    last = ops.reshape(carry["last"], (-1,))
    before = carry.get("total", ops.zeros_like(carry["last"], dtype="float32"))
    if output is not None:
        vectors, states = models.vectors(last, memory, carry["states"])
        found = best_of_vectors(vectors, *output, before, plan.width)
    else:
        logits, states, _ = models.step(last, memory, carry["states"])
        allowed = logits
        if plan.ngram:
            history = ops.reshape(carry["history"], (-1, carry["history"].shape[-1]))
            allowed = without_repeats(logits, history, number, plan.ngram)
        if plan.way == "sample":
            found = _drawn(plan, logits, allowed, given)
        else:
            found = best_of_logits(logits, allowed, before, plan.width)
    go_on = _beams if plan.way == "beam" else _independently
    return go_on(plan, found, {**carry, "states": states}, number, given)


def _drawn(plan: Plan, logits: Array, allowed: Array, given: dict[str, Array]) -> Candidates:
    uniforms = ops.reshape(given["uniforms"], (-1,))
    top_p = given["top_p"] if plan.nucleus else None
    tokens = draw(allowed, uniforms, given["temperature"], top_p)
    chosen = ops.take_along_axis(logits, tokens[:, None], axis=-1)[:, 0]
    logs = ops.reshape(chosen - normalizers(logits), (-1, plan.width))
    return Candidates(logs, ops.zeros_like(tokens), ops.reshape(tokens, (-1, plan.width)), logs)


def _independently(
    plan: Plan, found: Candidates, carry: Carry, number: Array, given: dict[str, Array]
) -> tuple[Carry, Record]:
    """Each target goes on from itself."""
    in_use = carry["in_use"]
    tokens = ops.where(in_use, found.tokens, PADDING)
    within = number + 1 < given["limits"][:, None]
    goes_on = ops.logical_and(ops.logical_and(in_use, tokens != END), within)
    new = {**carry, "last": tokens, "in_use": goes_on}
    if plan.ngram:
        new["history"] = _with(carry["history"], tokens, number)
    return new, (tokens, ops.zeros_like(tokens), found.log_probabilities)


def _beams(
    plan: Plan, found: Candidates, carry: Carry, number: Array, given: dict[str, Array]
) -> tuple[Carry, Record]:
    """The best continuations of all beams of a source: as many as there is room for.

    A hypothesis that has ended keeps its room: K in all, finished and not. So one beam is
    greedy search, and K beams finish K hypotheses unless the search ends before.
    """
    total, parents, tokens, log_probabilities = found
    room = carry["room"]
    exists = ops.logical_and(ops.arange(plan.width) < room[:, None], total != -math.inf)
    tokens = ops.where(exists, tokens, PADDING)
    ends = tokens == END
    room = room - ops.sum(ops.cast(ends, "int32"), axis=1)

    score = total / length_penalty(ops.cast(number + 1, "float32"), given["alpha"])
    scores = ops.concatenate([carry["finished"], ops.where(ends, score, -math.inf)], axis=1)
    finished = top(scores, plan.best)[0]

    going = ops.where(ops.logical_and(exists, ops.logical_not(ends)), total, -math.inf)
    # At best all further tokens are certain, and the target is as long as may be.
    limits = given["limits"]
    longest = length_penalty(ops.cast(limits, "float32"), given["alpha"])
    beatable = ops.max(going, axis=1) / longest > finished[:, -1]
    open_ = ops.logical_and(beatable, number + 1 < limits)
    going = ops.where(open_[:, None], going, -math.inf)

    rows = ops.arange(ops.shape(parents)[0], dtype="int32")[:, None] * plan.width + parents
    flat = ops.reshape(rows, (-1,))
    states = keras.tree.map_structure(lambda a: ops.take(a, flat, axis=0), carry["states"])
    new: Carry = {
        "states": states,
        "last": tokens,
        "total": going,
        "room": room,
        "finished": finished,
    }
    if plan.ngram:
        history = ops.take_along_axis(carry["history"], parents[:, :, None], axis=1)
        new["history"] = _with(history, tokens, number)
    return new, (tokens, parents, log_probabilities)


def _with(history: Array, tokens: Array, number: Array) -> Array:
    here = ops.arange(history.shape[-1], dtype="int32") == number
    return ops.where(here, tokens[:, :, None], history)
