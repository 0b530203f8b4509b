"""`conveyor.patch_keras`: `keras.layers.LSTM` and `GRU` themselves run on conveyor's engines."""

from __future__ import annotations

from functools import wraps
from typing import Any

import keras

from ._bidirectional import is_plain
from ._both_directions import can_run_both, run_both
from ._keras_call import is_plain_of_keras
from ._keras_loop import run_loop
from ._known_cells import LOOPS, STANDS_IN, why_unknown

# As it is in Keras, whatever is put in its place later.
_CALL = keras.layers.Bidirectional.call


class KerasPatch:
    """What `patch_keras()` did; a `with` block undoes it."""

    def __init__(self, *, undoes: bool) -> None:
        self._undoes = undoes

    def __enter__(self) -> KerasPatch:
        return self

    def __exit__(self, *error: object) -> None:
        if self._undoes:
            unpatch_keras()

    def __repr__(self) -> str:
        state = "on" if is_patched() else "off"
        return (
            f"<keras.layers.LSTM and GRU run on conveyor: {state}; "
            "conveyor.unpatch_keras() ends it>"
        )


def patch_keras() -> KerasPatch:
    """Make `keras.layers.LSTM` and `GRU` compute on conveyor's engines, wherever they stand.

    Models that exist and models that come, `Bidirectional`, `RNN(LSTMCell(...))` and
    `RNN([GRUCell(...), LSTMCell(...)])` too, with cells of Keras or of conveyor; the two directions
    of a `Bidirectional` of LSTMs in one call, as of `conveyor.Bidirectional`. Classes, weights,
    numbers and files stay Keras's: only the loop over the time steps is another. What a model has
    compiled before (`fit`, `predict`) it goes on with; compile it again. Layers whose class has a
    loop or a step of its own, and layers with `use_cudnn=True`, keep theirs.

    Returns:
        An object that says what is on; in a `with` block it is undone at the end.

    >>> import keras, numpy as np, conveyor
    >>> model = keras.Sequential([keras.Input((7, 3)), keras.layers.LSTM(4)])
    >>> x = np.random.default_rng(0).normal(size=(2, 7, 3)).astype("float32")
    >>> with conveyor.patch_keras():
    ...     fast = model(x)
    >>> bool(np.allclose(*map(keras.ops.convert_to_numpy, (fast, model(x))), atol=1e-5))
    True
    """
    undoes = not is_patched()
    for cls, loop in LOOPS.items():
        cls.inner_loop = _standing_in_for(loop)
    keras.layers.Bidirectional.call = _both_at_once
    return KerasPatch(undoes=undoes)


def unpatch_keras() -> None:
    """Give Keras its own code back. Nothing happens where they are there."""
    for cls, loop in LOOPS.items():
        cls.inner_loop = loop
    keras.layers.Bidirectional.call = _CALL


def is_patched() -> bool:
    """Whether `keras.layers.LSTM` and `GRU` run on conveyor's engines now."""
    return hasattr(keras.layers.LSTM.inner_loop, STANDS_IN)


def _standing_in_for(loop: Any) -> Any:
    @wraps(loop)
    def inner_loop(
        self: Any, sequences: Any, initial_state: Any, mask: Any, training: bool = False
    ) -> Any:
        # Other layers come here as well, and a class with a loop of its own through super().
        ours = getattr(self, "use_cudnn", "auto") is not True and why_unknown(self) is None
        if ours:
            return run_loop(self, sequences, initial_state, mask, training)
        return loop(self, sequences, initial_state, mask, training=training)

    setattr(inner_loop, STANDS_IN, True)
    return inner_loop


@wraps(_CALL)
def _both_at_once(
    self: Any, sequences: Any, initial_state: Any = None, mask: Any = None, training: Any = None
) -> Any:
    # The engine computes what Keras's wrapper would ask of its two layers in turn.
    four = initial_state is None or len(initial_state) == 4
    if four and can_run_both(self, sequences, _is_plain):
        return run_both(self, sequences, initial_state, mask, training)
    return _CALL(self, sequences, initial_state, mask, training)


def _is_plain(layer: Any) -> bool:
    return is_plain(layer) or is_plain_of_keras(layer)
