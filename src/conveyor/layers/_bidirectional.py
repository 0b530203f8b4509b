"""`conveyor.Bidirectional`: Keras's wrapper, with both directions in one call of the engine."""

from __future__ import annotations

from typing import Any

import keras

from .._engines import Array
from ._both_directions import can_run_both, run_both
from ._lstm import LSTM


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
        if can_run_both(self, sequences, is_plain):
            return run_both(self, sequences, initial_state, mask, training)
        return super().call(sequences, initial_state, mask, training)


def is_plain(layer: Any) -> bool:
    """Whether a layer is a `conveyor.LSTM` of one layer and direction, and nothing more."""
    return type(layer) is LSTM and not layer.parts and layer.activity_regularizer is None
