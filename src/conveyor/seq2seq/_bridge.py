"""The bridge: from the states that the encoder ends with to those that the decoder begins with."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from ._arrays import Array
from ._config import ModelConfig
from ._masks import WithOwnMasks

States = list[tuple[Array, Array]]  # (hidden_state, cell_state) a layer, (B, U) each


@keras.saving.register_keras_serializable(package="conveyor")
class Bridge(WithOwnMasks):
    """States (B, U) of each encoder layer to states (B, U) of each decoder layer.

    `last` hands them on as they are (Sutskever, Vinyals & Le 2014), `projected` through a layer
    of its own for each (tanh for hidden states, which lie between -1 and 1; linear for cell
    states), `zero` nothing, which leaves everything to attention. Where the decoder has more
    layers than the encoder, those above begin with the encoder's last.

    Args:
        config: `bridge`, `units`, `decoder_layers`.
    """

    def __init__(self, config: ModelConfig, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.config = config
        self.hidden: list[keras.layers.Layer] = []
        self.cell: list[keras.layers.Layer] = []
        if config.bridge == "projected":
            for n in range(1, config.decoder_layers + 1):
                sizes: dict[str, Any] = {"units": config.units, "dtype": self.dtype_policy}
                self.hidden.append(
                    keras.layers.Dense(activation="tanh", name=f"hidden_state_{n}", **sizes)
                )
                self.cell.append(keras.layers.Dense(name=f"cell_state_{n}", **sizes))

    def build(self, input_shape: Any = None) -> None:
        """Make the weights; they depend on no shape of the input."""
        for dense in (*self.hidden, *self.cell):
            dense.build((None, self.config.units))
        self.built = True

    def call(self, states: States) -> States:
        """The states that each layer of the decoder begins with."""
        layers = range(self.config.decoder_layers)
        begin = [states[min(n, len(states) - 1)] for n in layers]
        if self.config.bridge == "zero":
            return [(ops.zeros_like(h), ops.zeros_like(c)) for h, c in begin]
        if self.config.bridge == "projected":
            return [(self.hidden[n](begin[n][0]), self.cell[n](begin[n][1])) for n in layers]
        return begin
