"""`LSTMCell`: one time step, for `keras.layers.RNN` and for loops of your own."""

from __future__ import annotations

from typing import Any

import keras

from .._engines import Array
from ..ops._lstm import lstm_and_decision
from . import _checks
from ._gate_weights import WithGateWeights


@keras.saving.register_keras_serializable(package="conveyor")
class LSTMCell(WithGateWeights, keras.layers.LSTMCell):
    """One step of an LSTM: `keras.layers.LSTMCell` with the same arguments and weights.

    Called with `(inputs, states)`, inputs (B, F) and states the pair hidden, cell, each
    (B, U), it returns `(hidden_state, [hidden_state, cell_state])`.

    Args:
        units: size U of the hidden and of the cell state.
        dropout, recurrent_dropout: fractions to drop in training, between 0 and 1. The
            masks stay the same over time until `reset_dropout_mask()` and
            `reset_recurrent_dropout_mask()`; inside `RNN`, Keras does that at each call.
        implementation: with 1 each gate has its own dropout mask, with 2 they share one;
            `recurrent_dropout` makes it 1. The numbers are otherwise the same.
        activation, recurrent_activation, use_bias, kernel_initializer,
            recurrent_initializer, bias_initializer, unit_forget_bias, kernel_regularizer,
            recurrent_regularizer, bias_regularizer, kernel_constraint,
            recurrent_constraint, bias_constraint, seed: as in Keras.
        **kwargs: `name`, `dtype` and `trainable`.

    Raises:
        ConveyorError: units that are not a positive integer, rates outside [0, 1].

    >>> import numpy as np
    >>> cell = LSTMCell(4)
    >>> h, c = cell.get_initial_state(batch_size=2)
    >>> output, (h, c) = cell(np.ones((2, 3), "float32"), [h, c])
    >>> tuple(output.shape), tuple(c.shape)
    ((2, 4), (2, 4))
    """

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool = True,
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        *,
        implementation: int = 2,
        **kwargs: Any,
    ) -> None:
        _checks.check_units(units, type(self).__name__)
        _checks.check_rate(dropout, "dropout", type(self).__name__)
        _checks.check_rate(recurrent_dropout, "recurrent_dropout", type(self).__name__)
        super().__init__(
            units,
            activation=activation,
            recurrent_activation=recurrent_activation,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            recurrent_initializer=recurrent_initializer,
            bias_initializer=bias_initializer,
            unit_forget_bias=unit_forget_bias,
            kernel_regularizer=kernel_regularizer,
            recurrent_regularizer=recurrent_regularizer,
            bias_regularizer=bias_regularizer,
            kernel_constraint=kernel_constraint,
            recurrent_constraint=recurrent_constraint,
            bias_constraint=bias_constraint,
            dropout=dropout,
            recurrent_dropout=recurrent_dropout,
            seed=seed,
            implementation=implementation,
            **kwargs,
        )

    # Of a layer with `initial_state="learned"`: (U,) each, zeros before training.
    learns_initial_state = False
    initial_hidden_state: Any = None
    initial_cell_state: Any = None

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        if self.learns_initial_state:
            for name in ("initial_hidden_state", "initial_cell_state"):
                weight = self.add_weight(shape=(self.units,), initializer="zeros", name=name)
                setattr(self, name, weight)

    def call(
        self, inputs: Array, states: Any, training: bool | None = False
    ) -> tuple[Array, list[Array]]:
        where = f'LSTMCell "{self.name}"'
        _checks.check_initial_state(states, inputs.shape[0], self.units, where)
        hidden_state, cell_state = (
            keras.ops.convert_to_tensor(s, dtype=self.compute_dtype) for s in states
        )
        dropout_mask, recurrent_dropout_mask = self.draw_dropout_masks(
            inputs, hidden_state, bool(training)
        )
        # A single step is over before the native engine has its weights in order.
        (hidden_state, cell_state), _ = lstm_and_decision(
            keras.ops.expand_dims(inputs, 1),
            **self.weights_for_ops(),
            hidden_state=hidden_state,
            cell_state=cell_state,
            dropout_mask=dropout_mask,
            recurrent_dropout_mask=recurrent_dropout_mask,
            unroll=True,
            outputs=("hidden_state", "cell_state"),
            engine="portable",
            where=where,
        )
        return hidden_state, [hidden_state, cell_state]

    def weights_for_ops(self) -> dict[str, Any]:
        """The weights in the compute dtype and the activations, as `ops.lstm` names them."""
        weights = (self.kernel, self.recurrent_kernel, self.bias)
        cast = [
            None
            if w is None
            else keras.ops.cast(keras.ops.convert_to_tensor(w), self.compute_dtype)
            for w in weights
        ]
        return {
            "kernel": cast[0],
            "recurrent_kernel": cast[1],
            "bias": cast[2],
            "activation": self.activation,
            "recurrent_activation": self.recurrent_activation,
        }

    def draw_dropout_masks(
        self, inputs: Array, hidden_state: Array, training: bool
    ) -> tuple[Array | None, Array | None]:
        """The factors on input and hidden state, drawn in Keras's order.

        Keras remembers them on the cell until they are reset.
        """
        if not training:
            return None, None
        drawn = self.get_dropout_mask(inputs), self.get_recurrent_dropout_mask(hidden_state)
        one, per_gate = (keras.ops.stack(m) if isinstance(m, list) else m for m in drawn)
        return one, per_gate

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "implementation": self.implementation}
