"""Layers without a memory: in NumPy where they are common, else by Keras itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from .._errors import lesson
from ._values import Array, Rows, Value, joined

Operation = Callable[[list[Value], Rows], list[Value]]


def _sigmoid(x: Array) -> Array:
    return np.asarray(0.5 + 0.5 * np.tanh(0.5 * x))


def _softmax(x: Array) -> Array:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return np.asarray(e / e.sum(axis=-1, keepdims=True))


_ACTIVATIONS: dict[Any, Callable[[Array], Array]] = {
    keras.activations.linear: lambda x: x,
    keras.activations.tanh: np.tanh,
    keras.activations.sigmoid: _sigmoid,
    keras.activations.relu: lambda x: np.maximum(x, 0),
    keras.activations.softmax: _softmax,
}


def in_numpy(layer: Any, weights: list[Array]) -> Operation | None:
    """What a layer does with one time step; None where NumPy is not told."""
    if type(layer) is keras.layers.TimeDistributed:
        layer = layer.layer
    make = _MAKERS.get(type(layer))
    return None if make is None else make(layer, weights)


_AS_IT_IS = (
    keras.layers.Dropout,
    keras.layers.SpatialDropout1D,
    keras.layers.GaussianNoise,
    keras.layers.GaussianDropout,
    keras.layers.AlphaDropout,
    keras.layers.ActivityRegularization,
    keras.layers.Identity,
)


def _as_it_is(layer: Any, weights: list[Array]) -> Operation:
    return lambda inputs, rows: inputs


def _masking(layer: Any, weights: list[Array]) -> Operation:
    def run(inputs: list[Value], rows: Rows) -> list[Value]:
        x = inputs[0].array
        counts = (x != layer.mask_value).any(axis=-1)
        return [Value(np.where(counts[:, None], x, np.zeros_like(x)), counts)]

    return run


def _embedding(layer: Any, weights: list[Array]) -> Operation | None:
    if len(weights) != 1:
        return None
    (table,) = weights

    def run(inputs: list[Value], rows: Rows) -> list[Value]:
        ids = inputs[0].array.astype(np.int64)
        if ids.size and not 0 <= ids.min() <= ids.max() < len(table):
            raise lesson(
                f'Embedding "{layer.name}"',
                f"ids from 0 to {len(table) - 1}",
                f"{ids.min()} to {ids.max()}",
                "Look up unknown tokens before, or give Embedding a larger input_dim.",
            )
        return [Value(table[ids], ids != 0 if layer.mask_zero else inputs[0].mask)]

    return run


def _activation(layer: Any, weights: list[Array]) -> Operation | None:
    activation = _ACTIVATIONS.get(layer.activation)
    if activation is None:
        return None
    return lambda inputs, rows: [Value(activation(inputs[0].array), inputs[0].mask)]


def _dense(layer: Any, weights: list[Array]) -> Operation | None:
    activation = _ACTIVATIONS.get(layer.activation)
    if activation is None or len(weights) != 1 + bool(layer.use_bias):
        return None
    kernel, bias = weights[0], weights[1] if layer.use_bias else None

    def run(inputs: list[Value], rows: Rows) -> list[Value]:
        z = inputs[0].array @ kernel
        if bias is not None:
            z += bias
        return [Value(activation(z), inputs[0].mask)]

    return run


_MAKERS: dict[type, Callable[[Any, list[Array]], Operation | None]] = {
    **dict.fromkeys(_AS_IT_IS, _as_it_is),
    keras.layers.Masking: _masking,
    keras.layers.Embedding: _embedding,
    keras.layers.Activation: _activation,
    keras.layers.Dense: _dense,
}


class ByKeras:
    """Any layer or operation, on an array with one time step.

    Args:
        operation: of Keras.
        arguments: its positional and keyword arguments, numbers of inputs where tensors stand.
        time: whether tensors have a time axis there.
    """

    def __init__(self, operation: Any, arguments: Any, time: bool) -> None:
        self._operation, self._arguments, self._time = operation, arguments, time

    def __call__(self, inputs: list[Value], rows: Rows) -> list[Value]:
        """Run it, in inference."""

        def tensor(place: Any) -> Any:
            if not isinstance(place, Place):
                return place
            x = inputs[place.number].array
            return keras.ops.convert_to_tensor(_few_sizes(x)[:, None] if self._time else x)

        args, kwargs = keras.tree.map_structure(tensor, self._arguments)
        given = self._operation(*args, **kwargs)
        mask = joined([value.mask for value in inputs])
        arrays = [keras.ops.convert_to_numpy(y) for y in keras.tree.flatten(given)]
        count = len(inputs[0].array)
        return [Value(y[:count, 0] if self._time else y, mask) for y in arrays]


def _few_sizes(x: Array) -> Array:
    """Rows of zeros up to a power of two where each number of rows is compiled anew."""
    missing = (1 << (len(x) - 1).bit_length()) - len(x)
    if not missing or keras.backend.backend() != "jax":
        return x
    return np.concatenate([x, np.zeros((missing, *x.shape[1:]), x.dtype)])


class Place:
    """Where an input stands among the arguments of an operation."""

    def __init__(self, number: int) -> None:
        self.number = number
