"""Attention: where in the source to look, for each token to write."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from ._arrays import Array, Memory
from ._config import ModelConfig
from ._encoder import Encoded
from ._masks import WithOwnMasks

_FAR_BELOW = -1e9  # to a softmax: never


@keras.saving.register_keras_serializable(package="conveyor")
class Attention(WithOwnMasks):
    """Hidden states of the decoder (B, L, U) to contexts (B, L, U) and weights (B, L, T).

    With h a hidden state of the decoder and s one of the encoder, the score is

        dot       h s                      general   h W s
        concat    v tanh(W [h; s])         additive  v tanh(W h + U s + b)

    (Luong, Pham & Manning 2015, doi:10.48550/arXiv.1508.04025; `additive` is the score of
    Bahdanau, Cho & Bengio 2015, doi:10.48550/arXiv.1409.0473). The weights are the softmax of the
    scores over the tokens of the source, the context is the mean of the s with these weights.
    With `coverage` the scores know how much each token was looked at so far, a: w a is added to
    dot and general scores, w a with a vector w inside the tanh of the others (Tu et al. 2016,
    doi:10.48550/arXiv.1601.04811).

    Args:
        config: `attention`, `attention_size`, `coverage`, `units`.

    >>> import numpy as np
    >>> attention = Attention(ModelConfig(units=4, embedding_size=4, output_size=4))
    >>> attention.build()
    >>> encoded = Encoded(np.ones((1, 3, 4), "float32"), np.array([[True, True, False]]), [])
    >>> context, weights = attention(np.ones((1, 2, 4), "float32"), attention.memory(encoded))
    >>> ops.convert_to_numpy(weights)[0].tolist()
    [[0.5, 0.5, 0.0], [0.5, 0.5, 0.0]]
    """

    def __init__(self, config: ModelConfig, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.config = config
        self._in_a_tanh = config.attention in ("concat", "additive")

        def dense(name: str, size: int, *, bias: bool = False) -> keras.layers.Layer:
            return keras.layers.Dense(size, use_bias=bias, name=name, dtype=self.dtype_policy)

        if config.attention == "general":
            self.to_keys = dense("keys", config.units)
        if self._in_a_tanh:
            self.to_keys = dense("keys", config.attention_size)
            biased = config.attention == "additive"
            self.to_queries = dense("queries", config.attention_size, bias=biased)
            self.to_scores = dense("scores", 1)

    def build(self, input_shape: Any = None) -> None:
        """Make the weights; they depend on no shape of the input."""
        config = self.config
        if config.attention != "dot":
            self.to_keys.build((None, None, config.units))
        if self._in_a_tanh:
            self.to_queries.build((None, None, config.units))
            self.to_scores.build((None, None, None, config.attention_size))
        if config.coverage:
            size = config.attention_size if self._in_a_tanh else 1
            self.coverage_weight = self.add_weight(shape=(size,), name="coverage")
        self.built = True

    def memory(self, encoded: Encoded) -> Memory:
        """What each call looks at: computed once for a source."""
        values = encoded.hidden_states
        if self.config.attention == "dot":
            return {"values": values, "keys": values, "mask": encoded.mask}
        return {"values": values, "keys": self.to_keys(values), "mask": encoded.mask}

    def call(
        self, hidden_states: Array, memory: Memory, coverage: Array | None = None
    ) -> tuple[Array, Array]:
        """Contexts (B, L, U) and weights (B, L, T) of L hidden states; `coverage` is (B, L, T)."""
        scores = ops.cast(self._scores(hidden_states, memory["keys"], coverage), "float32")
        mask = memory["mask"][:, None, :]
        # Of one token Keras warns that its softmax is always 1, which here is what is meant.
        one = scores.shape[-1] == 1
        weights = ops.ones_like(scores) if one else _softmax(scores, mask)
        weights = ops.where(mask, weights, 0.0)  # of a source without tokens, too
        context = ops.matmul(ops.cast(weights, self.compute_dtype), memory["values"])
        return context, weights

    def _scores(self, queries: Array, keys: Array, coverage: Array | None) -> Array:
        if not self._in_a_tanh:
            scores = ops.matmul(queries, ops.swapaxes(keys, 1, 2))
            return scores if coverage is None else scores + self._weighted(coverage)[..., 0]
        inside = self.to_queries(queries)[:, :, None, :] + keys[:, None, :, :]  # (B, L, T, A)
        if coverage is not None:
            inside = inside + self._weighted(coverage)
        return self.to_scores(ops.tanh(inside))[..., 0]

    def _weighted(self, coverage: Array) -> Array:
        weight = ops.cast(self.coverage_weight, self.compute_dtype)
        return ops.cast(coverage, self.compute_dtype)[..., None] * weight


def _softmax(scores: Array, mask: Array) -> Array:
    return ops.softmax(ops.where(mask, scores, _FAR_BELOW), axis=-1)
