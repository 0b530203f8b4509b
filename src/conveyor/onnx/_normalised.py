"""Layer normalisation, without scale and shift."""

from __future__ import annotations

from ._builder import Builder


def normalised(build: Builder, x: str, size: int, epsilon: float) -> str:
    """(x - mean) / sqrt(variance + epsilon) along the last axis, which has `size` numbers."""
    # The operator of this name is newer than opset 14.
    count, axis = build.number(float(size)), build.integers(-1)
    mean = build("Div", build("ReduceSum", x, axis, keepdims=1), count)
    centred = build("Sub", x, mean)
    squares = build("ReduceSum", build("Mul", centred, centred), axis, keepdims=1)
    variance = build("Add", build("Div", squares, count), build.number(epsilon))
    return build("Div", centred, build("Sqrt", variance))
