"""The same question put to each framework: gradients, compiled functions, close enough."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import pytest

BACKEND = keras.backend.backend()

# Of the values, which are below 10 in all cases: rounding of the dtype, times the steps.
TOLERANCE = {"float64": 1e-12, "float32": 1e-5, "float16": 2e-2, "bfloat16": 1.5e-1}


def only_on(*backends: str) -> pytest.MarkDecorator:
    """With all of its cases: see `pytest_collection_modifyitems`."""
    return pytest.mark.only_on(*backends)


class Unhashable:
    """An activation as a user may write one: an object that compares with others."""

    def __call__(self, x: Any) -> Any:
        return keras.ops.tanh(x)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Unhashable)

    __hash__ = None  # type: ignore[assignment]


def to_numpy(value: Any) -> np.ndarray:
    if isinstance(value, np.ndarray):
        return value
    if keras.backend.standardize_dtype(value.dtype) == "bfloat16":
        value = keras.ops.cast(value, "float32")
    return keras.ops.convert_to_numpy(value)


def assert_close(actual: Any, expected: Any, dtype: str = "float32", scale: float = 1.0) -> None:
    expected = np.asarray(to_numpy(expected), "float64")
    tolerance = TOLERANCE[dtype] * scale
    np.testing.assert_allclose(
        np.asarray(to_numpy(actual), "float64"), expected, rtol=tolerance, atol=tolerance
    )


def assert_same(actual: Any, expected: Any, scale: float = 1.0) -> None:
    """Nests of arrays in float64, each beside its largest number."""
    actual, expected = keras.tree.flatten(actual), keras.tree.flatten(expected)
    assert len(actual) == len(expected) > 0
    for a, e in zip(actual, expected, strict=True):
        size = max(1.0, float(np.abs(e).max()))
        assert_close(np.asarray(a) / size, np.asarray(e) / size, "float64", scale)


def gradients(
    function: Callable[..., Sequence[Any]],
    arrays: Sequence[np.ndarray],
    cotangents: Sequence[np.ndarray],
) -> list[np.ndarray]:
    """d sum(outputs * cotangents) / d arrays, in the dtype of the arrays."""

    def loss(*tensors: Any) -> Any:
        outputs = function(*tensors)
        return sum(
            keras.ops.sum(o * keras.ops.convert_to_tensor(c.astype(arrays[0].dtype)))
            for o, c in zip(outputs, cotangents, strict=True)
        )

    if BACKEND == "jax":
        import jax

        with jax.enable_x64(arrays[0].dtype == np.float64):
            grads = jax.jit(jax.grad(loss, argnums=tuple(range(len(arrays)))))(*arrays)
            return [np.asarray(g) for g in grads]
    if BACKEND == "torch":
        import torch

        tensors = [torch.tensor(a, requires_grad=True) for a in arrays]
        return [g.numpy() for g in torch.autograd.grad(loss(*tensors), tensors)]
    import tensorflow as tf

    tensors = [tf.constant(a) for a in arrays]
    with tf.GradientTape() as tape:
        for t in tensors:
            tape.watch(t)
        value = loss(*tensors)
    return [tf.convert_to_tensor(g).numpy() for g in tape.gradient(value, tensors)]


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """What the framework's compiler makes of it; torch runs it as it is."""
    if BACKEND == "jax":
        import jax

        return jax.jit(function)
    if BACKEND == "tensorflow":
        import tensorflow as tf

        return tf.function(function)
    return function
