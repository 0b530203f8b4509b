"""Sums, products and the like of several tensors, and the mask of what comes of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from ._builder import Builder, Tensor

Shape = tuple[int | None, ...]
Emit = Callable[[Builder, Any, list[Tensor]], Tensor | None]


def _joined(build: Builder, inputs: list[Tensor], name: str, shape: Shape) -> Tensor:
    """A value of several inputs, masked where all are: steps count that count in one of them."""
    masks = list(dict.fromkeys(x.mask for x in inputs))
    if None in masks:
        return Tensor(name, shape)
    mask, *others = [mask for mask in masks if mask is not None]
    for other in others:
        mask = build("Or", mask, other, hint="mask")
    return Tensor(name, shape, mask)


def broadcast(inputs: list[Tensor]) -> Shape:
    """The shape of what comes of an operation element by element."""
    return max((x.shape for x in inputs), key=len)


def _elementwise(operation: str) -> Emit:
    def emit(build: Builder, layer: Any, inputs: list[Tensor]) -> Tensor | None:
        name = inputs[0].name
        if operation == "Mean":
            name = build(operation, *(x.name for x in inputs))
        else:
            for x in inputs[1:]:
                name = build(operation, name, x.name)
        return _joined(build, inputs, name, broadcast(inputs))

    return emit


def _counts(build: Builder, x: Tensor) -> str | None:
    return None if x.mask is None else build("Unsqueeze", x.mask, build.integers(-1))


def _product(build: Builder, layer: Any, inputs: list[Tensor]) -> Tensor | None:
    """As in Keras, padding is a one beside steps that count, and a zero beside none."""
    factors = []
    for x in inputs:
        counts = _counts(build, x)
        kept = x.name if counts is None else build("Where", counts, x.name, build.number(1.0))
        factors.append(kept)
    name = factors[0]
    for factor in factors[1:]:
        name = build("Mul", name, factor)
    made = _joined(build, inputs, name, broadcast(inputs))
    counts = _counts(build, made)
    if counts is None:
        return made
    return made.named(build("Where", counts, made.name, build.number(0.0)))


def _extreme(operation: str) -> Emit:
    """As in Keras, padding gives way to what stands beside it."""

    def emit(build: Builder, layer: Any, inputs: list[Tensor]) -> Tensor | None:
        name, mask = inputs[0].name, _counts(build, inputs[0])
        for x in inputs[1:]:
            other, counts = x.name, _counts(build, x)
            if counts is not None:
                other = build("Where", counts, other, name)
            if mask is not None:
                name = build("Where", mask, name, other)
            both = mask is not None and counts is not None
            mask = build("Or", mask or "", counts or "") if both else None
            name = build(operation, name, other)
        return _joined(build, inputs, name, broadcast(inputs))

    return emit


def _concatenate(build: Builder, layer: Any, inputs: list[Tensor]) -> Tensor | None:
    axis = layer.axis if layer.axis >= 0 else layer.axis + len(inputs[0].shape)
    if axis != len(inputs[0].shape) - 1:
        return None
    width = sum(int(x.shape[-1] or 0) for x in inputs)
    name = build("Concat", *(x.name for x in inputs), axis=axis)
    return _joined(build, inputs, name, (*inputs[0].shape[:-1], width))


MERGES: dict[type, Emit] = {
    keras.layers.Add: _elementwise("Add"),
    keras.layers.Subtract: _elementwise("Sub"),
    keras.layers.Average: _elementwise("Mean"),
    keras.layers.Multiply: _product,
    keras.layers.Maximum: _extreme("Max"),
    keras.layers.Minimum: _extreme("Min"),
    keras.layers.Concatenate: _concatenate,
}
