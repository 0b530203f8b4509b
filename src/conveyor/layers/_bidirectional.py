"""`conveyor.Bidirectional`: Keras's wrapper, with both directions in one call of the engine."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops as K

from .._engines import Array, glue
from ..ops._lstm import lstms_and_decisions
from . import _checks
from ._lstm import LSTM
from ._stack_call import merged


@keras.saving.register_keras_serializable(package="conveyor")
class Bidirectional(keras.layers.Bidirectional):
    """`keras.layers.Bidirectional` of a `conveyor.LSTM`: the same, and both directions at once.

    Arguments, weights, numbers and files are those of Keras's wrapper, which calls one layer after
    the other; here the native engine runs the two side by side, forward and backward. Layers that
    are not `conveyor.LSTM`s of one layer and direction, and of the wrapper's dtype, are called as
    Keras calls them.

    >>> import numpy as np
    >>> from conveyor import LSTM, Bidirectional
    >>> both = Bidirectional(LSTM(4, return_sequences=True))
    >>> tuple(both(np.ones((2, 6, 3), "float32")).shape)
    (2, 6, 8)
    """

    def call(
        self,
        sequences: Array,
        initial_state: Any = None,
        mask: Any = None,
        training: bool | None = None,
    ) -> Any:
        # On a GPU Keras may have one kernel for both.
        if not self._is_of_lstms() or glue.active().why_not_native([sequences]) is not None:
            return super().call(sequences, initial_state, mask, training)
        layers = self.forward_layer, self.backward_layer
        half = 0 if initial_state is None else len(initial_state) // 2
        states = (initial_state[:half], initial_state[half:]) if half else (None, None)
        calls = []
        for layer, before in zip(layers, states, strict=True):
            if before is not None:
                batch, sizes = sequences.shape[0], layer.cell.state_size
                _checks.check_initial_state(before, batch, sizes, layer.where)
            x, given = layer.given_at_call(sequences, before, mask, training, None, None)
            calls.append(
                layer.asked(x, before, given.get("mask"), bool(given.get("training")), None)
            )
        (y, *after), (y_reversed, *after_reversed) = (
            returned if isinstance(returned, tuple) else (returned,)
            for returned in (
                layer.answered(call, *answer)
                for layer, call, answer in zip(
                    layers, calls, lstms_and_decisions(calls), strict=True
                )
            )
        )
        y, y_reversed = (K.cast(each, self.compute_dtype) for each in (y, y_reversed))
        if self.return_sequences:
            y_reversed = K.flip(y_reversed, axis=1)
        outputs = (*merged(self.merge_mode, [y, y_reversed]), *after, *after_reversed)
        return outputs[0] if len(outputs) == 1 else outputs

    def _is_of_lstms(self) -> bool:
        """Whether the two layers do nothing around their LSTMs that is not done here."""
        return all(
            is_plain(layer) and layer.dtype_policy.name == self.dtype_policy.name
            for layer in (self.forward_layer, self.backward_layer)
        )


def is_plain(layer: Any) -> bool:
    """Whether a layer is a `conveyor.LSTM` of one layer and direction, and nothing more."""
    return type(layer) is LSTM and not layer.parts and layer.activity_regularizer is None
