"""The decoder: from the encoder's states and the tokens so far to the next token."""

from __future__ import annotations

from typing import Any

import keras

from ..layers import LSTM
from ._encoder import Array, States


@keras.saving.register_keras_serializable(package="conveyor")
class Decoder(keras.layers.Layer):
    """Tokens (B, T) and states (B, U) to logits (B, T, vocabulary_size) and new states.

    All T tokens at once in training, one at a time in a search: the same call.

    Args:
        vocabulary_size: how many ids there are.
        embedding_size: size of the vector that stands for a token.
        units: U, that of the encoder.

    >>> import numpy as np
    >>> decoder = Decoder(vocabulary_size=10, embedding_size=8, units=16)
    >>> zeros = np.zeros((1, 16), "float32")
    >>> logits, (hidden_state, cell_state) = decoder(np.array([[1]]), (zeros, zeros))
    >>> tuple(logits.shape), tuple(cell_state.shape)
    ((1, 1, 10), (1, 16))
    """

    def __init__(
        self, vocabulary_size: int, embedding_size: int, units: int, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.embedding = keras.layers.Embedding(vocabulary_size, embedding_size, name="embedding")
        self.lstm = LSTM(
            units, outputs=("hidden_states", "hidden_state", "cell_state"), name="lstm"
        )
        self.to_logits = keras.layers.Dense(vocabulary_size, name="to_logits")

    def build(self, tokens_shape: Any, states_shape: Any = None) -> None:
        """Make the weights; they depend on no shape of the input."""
        self.embedding.build((None, None))
        self.lstm.build((None, None, self.embedding.output_dim))
        self.to_logits.build((None, None, self.lstm.units))

    def call(self, tokens: Array, states: States) -> tuple[Array, States]:
        """Logits of the token after each of these, and the states after the last."""
        # No mask: padding comes after the last token, where the loss does not look.
        hidden_states, hidden_state, cell_state = self.lstm(
            self.embedding(tokens), initial_state=list(states)
        )
        return self.to_logits(hidden_states), (hidden_state, cell_state)
