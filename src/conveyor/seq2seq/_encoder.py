"""The encoder: reads the source; what it remembers at each step is what attention looks at."""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
from keras import ops

from ..layers import LSTM, Bidirectional
from ._arrays import Array
from ._characters import PADDING
from ._config import ModelConfig
from ._dropout import drawn_seed, dropout
from ._masks import WithOwnMasks


class Encoded(NamedTuple):
    """What an encoder knows of its sources.

    Attributes:
        hidden_states: (B, T, U) of the last layer.
        mask: (B, T), False where there is padding.
        states: (hidden_state, cell_state), (B, U) each, of every layer after its last token;
            of two directions those of each, side by side.
    """

    hidden_states: Array
    mask: Array
    states: list[tuple[Array, Array]]


@keras.saving.register_keras_serializable(package="conveyor")
class Encoder(WithOwnMasks):
    """Vectors of tokens (B, T, F) and their mask to hidden states (B, T, U), and last states.

    LSTMs on top of each other, each in one direction or both (Schuster & Paliwal 1997, half of
    the units each), with what a layer reads added to what it says where both are of one size
    and `residual` (Wu et al. 2016). Padding is masked: it changes nothing and costs nothing.

    Args:
        config: `units`, `encoder_layers`, `bidirectional`, `residual`, `dropout`,
            `recurrent_dropout`.

    >>> import numpy as np
    >>> encoder = Encoder(ModelConfig(units=16, embedding_size=8, output_size=8))
    >>> encoder.build((None, None, 8))
    >>> encoded = encoder(np.zeros((1, 4, 8)), mask=np.array([[True, True, True, False]]))
    >>> tuple(encoded.hidden_states.shape), tuple(encoded.states[0][1].shape)
    ((1, 4, 16), (1, 16))
    """

    def __init__(self, config: ModelConfig, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.config = config
        self.lstms = [self._lstm(n) for n in range(config.encoder_layers)]
        self.dropout = dropout(config.dropout, self.dtype_policy)

    def _lstm(self, n: int) -> keras.layers.Layer:
        config, policy = self.config, self.dtype_policy
        outputs = ("hidden_states", "hidden_state", "cell_state")
        name = "lstm" if n == 0 else f"lstm_{n + 1}"
        lstm = LSTM(
            config.units // 2 if config.bidirectional else config.units,
            outputs=outputs,
            recurrent_dropout=config.recurrent_dropout,
            seed=drawn_seed(),
            name=name,
            dtype=policy,
        )
        if not config.bidirectional:
            return lstm
        return Bidirectional(lstm, name=f"bidirectional_{name}", dtype=policy)

    def build(self, input_shape: Any) -> None:
        """Make the weights for vectors of this size."""
        features = input_shape[-1]
        for lstm in self.lstms:
            lstm.build((None, None, features))
            features = self.config.units

    def call(self, vectors: Array, mask: Array, training: bool = False) -> Encoded:
        """What is known after each token, and after the last."""
        states: list[tuple[Array, Array]] = []
        for lstm in self.lstms:
            read = self.dropout(vectors, training=training)
            hidden_states, *last = lstm(read, mask=mask, training=training)
            if len(last) == 4:  # forward hidden and cell, backward hidden and cell
                last = [ops.concatenate(last[k::2], axis=-1) for k in (0, 1)]
            states.append((last[0], last[1]))
            same_size = hidden_states.shape[-1] == vectors.shape[-1]
            residual = self.config.residual and same_size
            vectors = hidden_states + vectors if residual else hidden_states
        return Encoded(vectors, mask, states)


def mask_of(tokens: Array) -> Array:
    """(B, T), False where there is padding."""
    return ops.not_equal(tokens, PADDING)
