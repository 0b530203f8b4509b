"""The attention of targets that are known: the model writes them once more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final, cast

import keras
import numpy as np
from keras import ops

from ..layers import Compiled, over_time
from ._arrays import Array
from ._ensemble import Ensemble, StepModel
from ._hypothesis import Floats, Hypothesis
from ._shapes import Group, groups, padded
from ._tokens import BEGIN

_CHUNK: Final = 32  # steps in one compiled call


def with_attention(
    models: Sequence[StepModel],
    sources: Sequence[Sequence[int]],
    hypotheses: list[list[Hypothesis]],
    batch_tokens: int,
) -> list[list[Hypothesis]]:
    """The same hypotheses with their attention.

    A second pass instead of a record of the first: that would be of every beam at every step,
    most of them given up later, and of a long source gigabytes.
    """
    result: list[list[Hypothesis]] = [list(each) for each in hypotheses]
    forced = _forced(models)
    weights = forced.weights()
    for group in groups([len(source) for source in sources], batch_tokens):
        width = max(len(hypotheses[n]) for n in group.members)
        targets = [_written(hypotheses[n], width) for n in group.members]
        every = _attention(forced, weights, sources, group, targets)
        for n, attention in zip(group.members, every, strict=True):
            for k, hypothesis in enumerate(hypotheses[n]):
                steps = len(hypothesis.token_log_probabilities)
                # Copied: a view would keep the rows of the whole batch.
                own = attention[:steps, k, : len(sources[n])].copy()
                result[n][k] = replace(hypothesis, attention=own if own.any() else None)
    return result


class Forced:
    """The compiled parts: begin, and some steps of given tokens."""

    def __init__(self, models: Ensemble) -> None:
        self._models = models
        layers = cast(Any, models.models)
        self.weights = Compiled(models.weights, weights_of=layers)
        self.begin = Compiled(self._begin, weights_of=layers)
        self.run = Compiled(self._run, weights_of=layers)

    def _begin(self, source: Array, copies: Array) -> Any:
        return self._models.begin(source, copies.shape[0])

    def _run(
        self, weights: Any, source: Array, memory: Any, states: Any, tokens: Array
    ) -> tuple[Any, Array]:
        """States and attention (N, steps, T) of tokens (N, steps)."""
        nothing = ops.cast(tokens[:, :1] * 0, "float32") + ops.zeros((source.shape[1],))
        shape = (nothing, states)
        models = self._models.bound(weights)

        def step(carry: tuple[Array, ...], row: tuple[Array, ...]) -> tuple[Array, ...]:
            _, before = keras.tree.pack_sequence_as(shape, list(carry))
            _, after, attention = models.step(row[0], memory, before)
            if attention is None:
                attention = nothing
            return tuple(keras.tree.flatten((attention, after)))

        attention, carry = over_time(step, tuple(keras.tree.flatten(shape)), (tokens,))
        return keras.tree.pack_sequence_as(shape, list(carry))[1], attention


def _forced(models: Sequence[StepModel]) -> Forced:
    kept: dict[Any, Forced] = models[0].__dict__.setdefault("_forced_searches", {})
    key = tuple(map(id, models))
    if key not in kept:
        kept[key] = Forced(Ensemble(models))
    return kept[key]


def _written(hypotheses: Sequence[Hypothesis], width: int) -> list[list[int]]:
    """What the decoder reads at each step of each hypothesis; empty ones to fill up."""
    read = [
        [BEGIN, *hypothesis.tokens][: len(hypothesis.token_log_probabilities)]
        for hypothesis in hypotheses
    ]
    return read + [[]] * (width - len(read))


def _attention(
    forced: Forced,
    weights: Any,
    sources: Sequence[Sequence[int]],
    group: Group,
    targets: list[list[list[int]]],
) -> Iterator[Floats]:
    """(steps, K, T) of each source."""
    rows, width = group.rows, len(targets[0])
    source = padded([sources[n] for n in group.members], rows, group.length)
    flat = [target for each in targets for target in each]
    steps = -(-max(map(len, flat)) // _CHUNK) * _CHUNK
    tokens = padded(flat, rows * width, steps)
    memory, states = forced.begin(source, np.zeros(width, "int32"))
    pieces = []
    for start in range(0, steps, _CHUNK):
        chunk = tokens[:, start : start + _CHUNK]
        states, attention = forced.run(weights, source, memory, states, chunk)
        pieces.append(ops.convert_to_numpy(attention))
    every = np.concatenate(pieces, axis=1)
    every = every.reshape(rows, width, steps, -1).transpose(0, 2, 1, 3)
    return iter(every[: len(group.members)])
