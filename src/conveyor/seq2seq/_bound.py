"""A model for loops: its weights are looked up and cast once, not at every step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keras import ops

from ._arrays import Array, Memory, State

if TYPE_CHECKING:
    from ._model import Seq2Seq

Weights = dict[str, Any]  # nests of arrays


def step_weights(model: Seq2Seq) -> Weights:
    """What the steps of a model read, in its compute dtype.

    Millions of numbers: to cast them takes as long as some steps.
    """

    def cast(array: Any) -> Array:
        return ops.cast(ops.convert_to_tensor(array), model.compute_dtype)

    kernel, bias = model.output_weights()
    weights = {
        "embedding": cast(model.target_embedding.embeddings),
        "decoder": model.decoder.step_weights(),
        "bias": ops.cast(bias, "float32"),
    }
    if model.to_logits is not None:
        # Flat and back: what a framework only says to be transposed is so from now on.
        weights["kernel"] = cast(ops.reshape(ops.reshape(kernel, (-1,)), kernel.shape))
    return weights


class Bound:
    """The steps of a `Seq2Seq` with such weights. No layer is called, which on PyTorch costs as
    much as a small product.
    """

    def __init__(self, model: Seq2Seq, weights: Weights) -> None:
        self.begin = model.begin
        self._decoder = model.decoder
        self._weights = weights

    @property
    def output(self) -> tuple[Array, Array]:
        """Kernel (V, A) and bias (V,) of the logits."""
        return self._weights.get("kernel", self._weights["embedding"]), self._weights["bias"]

    def step(self, tokens: Array, memory: Memory, state: State) -> tuple[Array, State, Array]:
        """As `Seq2Seq.step`."""
        vectors, state, attention = self.step_vectors(tokens, memory, state)
        kernel, bias = self.output
        logits = ops.cast(ops.matmul(vectors, ops.transpose(kernel)), "float32") + bias
        return logits, state, attention

    def step_vectors(
        self, tokens: Array, memory: Memory, state: State
    ) -> tuple[Array, State, Array]:
        """As `Seq2Seq.step_vectors`."""
        embedded: Any = ops.take(self._weights["embedding"], tokens, axis=0)
        return self._decoder.step(embedded, memory, state, self._weights["decoder"])
