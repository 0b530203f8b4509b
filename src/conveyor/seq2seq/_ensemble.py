"""Several models that write one target: the mean of their probabilities."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

import keras
from keras import ops

from .._errors import lesson
from ._arrays import Array
from ._bound import Bound, Weights, step_weights
from ._model import Seq2Seq


class StepModel(Protocol):
    """What a search needs of a model; `Seq2Seq` is one."""

    def begin(self, source: Array) -> tuple[Any, Any]:
        """Sources (B, T) to memory and state, every array of both with B rows."""

    def step(self, tokens: Array, memory: Any, state: Any) -> tuple[Array, Any, Array | None]:
        """Tokens (N,) to logits (N, V), the next state, and attention (N, T) or None."""


class Ensemble:
    """One or more models as one: probabilities and attention are averaged.

    Args:
        models: of one target vocabulary.
    """

    def __init__(self, models: Sequence[StepModel]) -> None:
        self.models = tuple(models)

    def begin(self, source: Array, copies: int) -> tuple[list[Any], list[Any]]:
        """Memory (B rows) and state (B * copies rows) of each model."""
        begun = [model.begin(source) for model in self.models]
        states = keras.tree.map_structure(
            lambda array: ops.repeat(array, copies, axis=0), [state for _, state in begun]
        )
        return [memory for memory, _ in begun], states

    def step(
        self, tokens: Array, memories: Sequence[Any], states: Sequence[Any]
    ) -> tuple[Array, list[Any], Array | None]:
        """Logits (N, V), states, and attention (N, T); of several, log probabilities."""
        stepped = [
            model.step(tokens, memory, state)
            for model, memory, state in zip(self.models, memories, states, strict=True)
        ]
        logits = self._mean_of([each[0] for each in stepped])
        attention = _mean_attention([each[2] for each in stepped if each[2] is not None])
        return logits, [each[1] for each in stepped], attention

    def weights(self) -> list[Weights]:
        """What the steps of each model read; see `bound`."""
        return [step_weights(m) if isinstance(m, Seq2Seq) else {} for m in self.models]

    def bound(self, weights: Sequence[Weights]) -> Ensemble:
        """The same for a loop, which looks no weights up."""
        bound: list[StepModel] = [
            Bound(model, own) if isinstance(model, Seq2Seq) else model
            for model, own in zip(self.models, weights, strict=True)
        ]
        return Ensemble(bound)

    def output(self) -> tuple[Array, Array] | None:
        """Kernel (V, A) and bias (V,) of the logits; None where there is more than a product."""
        (model, *others) = self.models
        return model.output if isinstance(model, Bound) and not others else None

    def vectors(
        self, tokens: Array, memories: Sequence[Any], states: Sequence[Any]
    ) -> tuple[Array, list[Any]]:
        """The same up to the vectors (N, A) that the `output` of a single model takes."""
        model: Any = self.models[0]
        vectors, state, _ = model.step_vectors(tokens, memories[0], states[0])
        return vectors, [state]

    def _mean_of(self, logits: list[Array]) -> Array:
        if len(logits) == 1:
            return logits[0]
        sizes = [each.shape[-1] for each in logits]
        if len(set(sizes)) > 1:
            raise lesson(
                "search",
                "models of one target vocabulary",
                f"models of {', '.join(map(str, sizes))} target tokens",
                "Train the models of an ensemble with one vocabulary.",
            )
        # log(mean(softmax)): no step of it under- or overflows.
        every = ops.stack([ops.log_softmax(each, axis=-1) for each in logits])
        return ops.logsumexp(every, axis=0) - math.log(len(logits))


def _mean_attention(every: list[Array]) -> Array | None:
    if len(every) < 2:
        return every[0] if every else None
    # A model without attention gives zeros: the mean is of the others.
    summed = ops.sum(ops.stack(every), axis=0)
    total = ops.sum(summed, axis=-1, keepdims=True)
    return summed / ops.where(total > 0, total, 1.0)
