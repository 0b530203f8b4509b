"""The encoder: reads the source in both directions, keeps its two final states."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from ..layers import LSTM
from ._characters import PADDING

Array = Any  # of whichever framework Keras runs on
States = tuple[Array, Array]  # hidden and cell state, (B, U) each


@keras.saving.register_keras_serializable(package="conveyor")
class Encoder(keras.layers.Layer):
    """Tokens (B, T) to the states (hidden, cell), (B, U) each, that a decoder begins with.

    Two LSTMs of U/2 units read the tokens from either end, as what a date begins with
    matters as much as what it ends with; their states are put side by side. Padding is
    masked: it changes nothing.

    Args:
        vocabulary_size: how many ids there are.
        embedding_size: size of the vector that stands for a token.
        units: U, even.

    >>> import numpy as np
    >>> encoder = Encoder(vocabulary_size=10, embedding_size=8, units=16)
    >>> hidden_state, cell_state = encoder(np.array([[4, 5, 6, 0]]))
    >>> tuple(hidden_state.shape), tuple(cell_state.shape)
    ((1, 16), (1, 16))
    """

    def __init__(
        self, vocabulary_size: int, embedding_size: int, units: int, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.embedding = keras.layers.Embedding(vocabulary_size, embedding_size, name="embedding")
        states = ("hidden_state", "cell_state")
        self.forwards = LSTM(units // 2, outputs=states, name="forwards")
        self.backwards = LSTM(units // 2, outputs=states, go_backwards=True, name="backwards")

    def build(self, tokens_shape: Any) -> None:
        """Make the weights; they depend on no shape of the input."""
        self.embedding.build((None, None))
        for direction in (self.forwards, self.backwards):
            direction.build((None, None, self.embedding.output_dim))

    def call(self, tokens: Array) -> States:
        """States after the last token: (B, T) to (B, U) and (B, U)."""
        mask = ops.not_equal(tokens, PADDING)
        vectors = self.embedding(tokens)
        h_forwards, c_forwards = self.forwards(vectors, mask=mask)
        h_backwards, c_backwards = self.backwards(vectors, mask=mask)
        return (
            ops.concatenate([h_forwards, h_backwards], axis=-1),
            ops.concatenate([c_forwards, c_backwards], axis=-1),
        )
