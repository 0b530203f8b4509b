"""`LSTMCell`: one time step, for `keras.layers.RNN` and for loops of your own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from .._engines import Array
from ..ops._lstm import lstm_and_decision
from . import _checks
from ._gate_weights import WithGateWeights
from ._variant import PLAIN, as_variant, variant_of
from ._variant_weights import WithVariant, in_dtype


@keras.saving.register_keras_serializable(package="conveyor")
class LSTMCell(WithVariant, WithGateWeights, keras.layers.LSTMCell):
    """One step of an LSTM: `keras.layers.LSTMCell` with the same arguments and weights.

    Called with `(inputs, states)`, inputs (B, F) and states the pair hidden, cell, each
    (B, U), it returns `(hidden_state, [hidden_state, cell_state])`. With a projection the hidden
    state is (B, projection).

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
        peephole, coupled, output_transform, projection, layer_norm, zoneout,
            recurrent_weight_dropout, clip, cell_clip, output_activation: as in `conveyor.LSTM`.
            The mask of `recurrent_weight_dropout` stays the same as those of the dropout do; that
            of `zoneout` is drawn at each step, which on JAX wants a loop that is not compiled.
        **kwargs: `name`, `dtype` and `trainable`.

    Raises:
        ConveyorError: units that are not a positive integer, rates outside [0, 1], and what
            `conveyor.LSTM` refuses.

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
        peephole: bool = False,
        coupled: bool = False,
        output_transform: bool = False,
        projection: int | None = None,
        layer_norm: str | Sequence[str] | None = None,
        zoneout: float | Sequence[float] = 0.0,
        recurrent_weight_dropout: float = 0.0,
        clip: float | None = None,
        cell_clip: float | None = None,
        output_activation: Any = None,
        **kwargs: Any,
    ) -> None:
        where = type(self).__name__
        _checks.check_units(units, where)
        _checks.check_rate(dropout, "dropout", where)
        _checks.check_rate(recurrent_dropout, "recurrent_dropout", where)
        given = {
            "peephole": peephole,
            "coupled": coupled,
            "output_transform": output_transform,
            "projection": projection,
            "layer_norm": layer_norm,
            "zoneout": zoneout,
            "recurrent_weight_dropout": recurrent_weight_dropout,
            "clip": clip,
            "cell_clip": cell_clip,
            "output_activation": output_activation,
        }
        variant = as_variant(given, units, where)
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
        if variant is not PLAIN:
            self.variant = variant
            self.state_size = [self.hidden_size, units]
            self.output_size = self.hidden_size

    # Of a layer with `initial_state="learned"`: (H,) and (U,), zeros before training.
    learns_initial_state = False
    initial_hidden_state: Any = None
    initial_cell_state: Any = None

    def build(self, input_shape: Any) -> None:
        if self.coupled or self.projection is not None:
            self.build_kernels(input_shape[-1])
        else:
            super().build(input_shape)
        if self.learns_initial_state:
            names = ("initial_hidden_state", "initial_cell_state")
            for name, size in zip(names, self.state_size, strict=True):
                setattr(self, name, self.add_weight(shape=(size,), initializer="zeros", name=name))
        self.build_variant()

    def call(
        self, inputs: Array, states: Any, training: bool | None = False
    ) -> tuple[Array, list[Array]]:
        where = f'LSTMCell "{self.name}"'
        _checks.check_initial_state(states, inputs.shape[0], self.state_size, where)
        hidden_state, cell_state = (
            keras.ops.convert_to_tensor(s, dtype=self.compute_dtype) for s in states
        )
        dropout_mask, recurrent_dropout_mask = self.draw_dropout_masks(
            inputs, hidden_state, bool(training)
        )
        given = self.weights_for_ops()
        if training and self.variant.draws:
            self.check_can_draw_each_step(inputs, where)
            given |= self.drawn(given, keras.ops.shape(inputs)[0], 1)
        # A single step is over before the native engine has its weights in order.
        (hidden_state, cell_state), _ = lstm_and_decision(
            keras.ops.expand_dims(inputs, 1),
            **given,
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
        dtype = self.compute_dtype
        given = {
            "kernel": in_dtype(self.kernel, dtype),
            "recurrent_kernel": in_dtype(self.recurrent_kernel, dtype),
            "bias": None if self.bias is None else in_dtype(self.bias, dtype),
            "activation": self.activation,
            "recurrent_activation": self.recurrent_activation,
        }
        # A cell of Keras's own has no variant.
        return given if variant_of(self) is PLAIN else given | self.variant_for_ops()

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
        own = {"implementation": self.implementation, **self.variant.get_config()}
        return {**super().get_config(), **own}
