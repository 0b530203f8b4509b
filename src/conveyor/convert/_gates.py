"""The order of the gates, which differs from framework to framework."""

from __future__ import annotations

import numpy as np

from ._weights import GATE_ORDER

Array = np.ndarray

# As the manuals have it: ONNX "iofc", TensorFlow's BlockLSTM "icfo" and BlockLSTMV2 "ifco".
ONNX_ORDER = ("input", "output", "forget", "candidate")
BLOCK_ORDER = ("input", "candidate", "forget", "output")


def to_order(array: Array, order: tuple[str, ...], axis: int = -1) -> Array:
    """From conveyor's order to another, along an axis of 4U.

    >>> to_order(np.array([1, 2, 3, 4]), ONNX_ORDER)
    array([1, 4, 2, 3])
    """
    parts = dict(zip(GATE_ORDER, np.split(array, 4, axis=axis), strict=True))
    return np.concatenate([parts[gate] for gate in order], axis=axis)


def from_order(array: Array, order: tuple[str, ...], axis: int = -1) -> Array:
    """Back.

    >>> from_order(np.array([1, 4, 2, 3]), ONNX_ORDER)
    array([1, 2, 3, 4])
    """
    parts = dict(zip(order, np.split(array, 4, axis=axis), strict=True))
    return np.concatenate([parts[gate] for gate in GATE_ORDER], axis=axis)
