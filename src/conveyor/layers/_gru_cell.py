"""`GRUCell`: one time step, for `keras.layers.RNN` and for loops of your own."""

from __future__ import annotations

from typing import Any

import keras

from .._engines import Array
from ..ops._gru import gru_and_decision
from . import _checks
from ._cell import LSTMCell
from ._gate_weights import WithGateWeights
from ._variant import refuse_of_lstm

STATES = ("hidden_state",)


@keras.saving.register_keras_serializable(package="conveyor")
class GRUCell(WithGateWeights, keras.layers.GRUCell):
    """One step of a GRU: `keras.layers.GRUCell` with the same arguments and weights.

    Called with `(inputs, states)`, inputs (B, F) and states the hidden state (B, U), by itself
    or in a list, it returns `(hidden_state, states)`, the latter as they were given.

    Args:
        units: size U of the hidden state.
        dropout, recurrent_dropout: fractions to drop in training, between 0 and 1. The
            masks stay the same over time until `reset_dropout_mask()` and
            `reset_recurrent_dropout_mask()`; inside `RNN`, Keras does that at each call.
        reset_after: whether the reset gate acts on h' R + b (cuDNN, PyTorch) or on h'.
        implementation: with 1 each gate has its own dropout mask, with 2 they share one;
            `recurrent_dropout` makes it 1. The numbers are otherwise the same.
        activation, recurrent_activation, use_bias, kernel_initializer,
            recurrent_initializer, bias_initializer, kernel_regularizer,
            recurrent_regularizer, bias_regularizer, kernel_constraint,
            recurrent_constraint, bias_constraint, seed: as in Keras.
        **kwargs: `name`, `dtype` and `trainable`.

    Raises:
        ConveyorError: units that are not a positive integer, rates outside [0, 1].

    >>> import numpy as np
    >>> cell = GRUCell(4)
    >>> h = cell.get_initial_state(batch_size=2)
    >>> output, h = cell(np.ones((2, 3), "float32"), h)
    >>> tuple(output.shape)
    (2, 4)
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
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        reset_after: bool = True,
        seed: int | None = None,
        *,
        implementation: int = 2,
        **kwargs: Any,
    ) -> None:
        refuse_of_lstm(kwargs, type(self).__name__)
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
            kernel_regularizer=kernel_regularizer,
            recurrent_regularizer=recurrent_regularizer,
            bias_regularizer=bias_regularizer,
            kernel_constraint=kernel_constraint,
            recurrent_constraint=recurrent_constraint,
            bias_constraint=bias_constraint,
            dropout=dropout,
            recurrent_dropout=recurrent_dropout,
            reset_after=reset_after,
            seed=seed,
            implementation=implementation,
            **kwargs,
        )

    # Of a layer with `initial_state="learned"`: (U,), zeros before training.
    learns_initial_state = False
    initial_hidden_state: Any = None

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        if self.learns_initial_state:
            self.initial_hidden_state = self.add_weight(
                shape=(self.units,), initializer="zeros", name="initial_hidden_state"
            )

    def call(self, inputs: Array, states: Any, training: bool | None = False) -> tuple[Array, Any]:
        where = f'GRUCell "{self.name}"'
        several = isinstance(states, (list, tuple))
        given = list(states) if several else [states]
        _checks.check_initial_state(given, inputs.shape[0], (self.units,), where, STATES)
        hidden_state = keras.ops.convert_to_tensor(given[0], dtype=self.compute_dtype)
        dropout_mask, recurrent_dropout_mask = self.draw_dropout_masks(
            inputs, hidden_state, bool(training)
        )
        # A single step is over before the native engine has its weights in order.
        (hidden_state,), _ = gru_and_decision(
            keras.ops.expand_dims(inputs, 1),
            **self.weights_for_ops(),
            hidden_state=hidden_state,
            dropout_mask=dropout_mask,
            recurrent_dropout_mask=recurrent_dropout_mask,
            unroll=True,
            outputs="hidden_state",
            engine="portable",
            where=where,
        )
        return hidden_state, [hidden_state] if several else hidden_state

    draw_dropout_masks = LSTMCell.draw_dropout_masks

    def weights_for_ops(self) -> dict[str, Any]:
        """The weights in the compute dtype and the options, as `ops.gru` names them."""
        weights = {
            "kernel": self.kernel,
            "recurrent_kernel": self.recurrent_kernel,
            "bias": self.bias,
        }
        cast = {
            name: None
            if w is None
            else keras.ops.cast(keras.ops.convert_to_tensor(w), self.compute_dtype)
            for name, w in weights.items()
        }
        return {
            **cast,
            "activation": self.activation,
            "recurrent_activation": self.recurrent_activation,
            "reset_after": self.reset_after,
        }

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "implementation": self.implementation}
