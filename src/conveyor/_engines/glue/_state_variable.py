"""A variable whose batch axis follows what it is given: the states of a stateful layer."""

from __future__ import annotations

from typing import Any

import keras


class _AnyBatch(tuple[int | None, ...]):
    """(None, U), equal to (B, U) for every B: Keras asks `!=` before it runs compiled code."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, tuple) and self[1:] == other[1:]

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = tuple.__hash__


class StateVariable(keras.Variable):
    """(B, U) for the batch it last saw, (0, U) before it saw any."""

    def _validate_shape(self, shape: Any) -> tuple[int | None, ...]:
        return _AnyBatch((None, *tuple(shape)[1:]))
