"""A model for loops: its weights are looked up and cast once, not at every step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keras import ops

from ._arrays import Array, Memory, State

if TYPE_CHECKING:
    from ._model import Seq2Seq


class Bound:
    """The steps of a `Seq2Seq` with the weights that it has now.

    In bfloat16 a step casts millions of weights, and on PyTorch each layer that is called costs as
    much as a small product. To be made within the compiled function that loops.
    """

    def __init__(self, model: Seq2Seq) -> None:
        self.begin = model.begin
        self.compute_dtype = model.compute_dtype
        self._decoder = model.decoder
        self._decoder_weights = model.decoder.step_weights()
        self._embedding = self._cast(ops.convert_to_tensor(model.target_embedding.embeddings))
        kernel, bias = model.output_weights()
        # Flat and back: what a framework only says to be transposed is so, once for all steps.
        kernel = ops.reshape(ops.reshape(kernel, (-1,)), kernel.shape)
        self.output = self._cast(kernel), ops.cast(bias, "float32")

    def _cast(self, array: Array) -> Array:
        return ops.cast(array, self.compute_dtype)

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
        embedded: Any = ops.take(self._embedding, tokens, axis=0)
        return self._decoder.step(embedded, memory, state, self._decoder_weights)
