"""The encoder: reads the source, and keeps the two states it ends with."""

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

    Padding is masked: it changes nothing. (A second LSTM that reads from the other end, each
    with half the units, was tried on the dates: a seventh less time, as exact.)

    Args:
        vocabulary_size: how many ids there are.
        embedding_size: size of the vector that stands for a token.
        units: U.

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
        self.lstm = LSTM(units, outputs=("hidden_state", "cell_state"), name="lstm")

    def build(self, input_shape: Any) -> None:
        """Make the weights; they depend on no shape of the input."""
        self.embedding.build((None, None))
        self.lstm.build((None, None, self.embedding.output_dim))

    def call(self, tokens: Array) -> States:
        """States after the last token: (B, T) to (B, U) and (B, U)."""
        mask = ops.not_equal(tokens, PADDING)
        hidden_state, cell_state = self.lstm(self.embedding(tokens), mask=mask)
        return hidden_state, cell_state
