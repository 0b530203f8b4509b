"""TensorFlow: a `tf.while_loop` in graphs, with arrays of fixed size so that XLA compiles it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import tensorflow as tf

from .._request import Activation, Array, LSTMRequest, Run, States
from . import _state_variable
from . import _tensorflow_native_gradients as _tensorflow_native_gradients  # registers them
from ._tensorflow_linear import native_cross_entropy as native_cross_entropy
from ._tensorflow_linear import native_top_k as native_top_k
from ._tensorflow_native import native as native
from ._tensorflow_native import native_stack as native_stack
from ._tensorflow_native import native_together as native_together
from ._tensorflow_native import recording
from ._tensorflow_native import why_not_native as why_not_native
from ._tensorflow_segments import in_segments as in_segments


def scan(step: Any, carry: Any, steps: tuple[Array, ...], *, kept: int, unroll: bool) -> Any:
    if unroll or tf.executing_eagerly():
        return _python_loop(step, carry, steps, kept)
    return _while_loop(step, carry, steps, kept)


def _python_loop(step: Any, carry: Any, steps: tuple[Array, ...], kept: int) -> Any:
    rows: list[tuple[Array, ...]] = []
    for one_of_each in zip(*(tf.unstack(a) for a in steps), strict=True):
        carry, row = step(carry, one_of_each)
        rows.append(row)
    return carry, tuple(tf.stack([row[k] for row in rows]) for k in range(kept))


def _while_loop(step: Any, carry: Any, steps: tuple[Array, ...], kept: int) -> Any:
    time_steps = steps[0].shape[0]
    if time_steps is None:
        time_steps = tf.shape(steps[0])[0]

    def array(dtype: Any, shape: Any) -> tf.TensorArray:
        return tf.TensorArray(dtype, time_steps, element_shape=shape)

    inputs = tuple(array(a.dtype, a.shape[1:]).unstack(a) for a in steps)
    h = carry[0]
    outputs = tuple(array(h.dtype, h.shape) for _ in range(kept))

    def body(t: Array, carry: Any, outputs: Any) -> Any:
        carry, row = step(carry, tuple(a.read(t) for a in inputs))
        return t + 1, carry, tuple(a.write(t, value) for a, value in zip(outputs, row, strict=True))

    _, carry, outputs = tf.while_loop(
        lambda t, *_: t < time_steps,
        body,
        (tf.constant(0), tuple(carry), outputs),
        maximum_iterations=time_steps,  # XLA takes the gradient only of bounded loops
    )
    return carry, tuple(a.stack() for a in outputs)


def empty(x: Array, width: int) -> Array:
    if tf.executing_eagerly():
        return tf.zeros([*x.shape[:-1], width], x.dtype)
    batch, time_steps, _ = tf.unstack(tf.shape(x))
    zeros = tf.zeros([batch, time_steps, width], x.dtype)
    zeros.set_shape([*x.shape[:-1], width])
    return zeros


def compiled(run: Run, request: LSTMRequest) -> States:
    return run(request)


def sum_with_gradients(run: Any, arrays: Sequence[Array], labels: Array) -> tuple[Array, Any]:
    wanted = recording()

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def summed(*arrays: Array) -> Any:
        value, rest, gradients = run(arrays, labels, wanted)

        def backward(d_value: Array, *_: Any) -> list[Array]:
            # No tape was watching when a function was traced: then they are computed now.
            found = run(arrays, labels, True)[2] if gradients is None else gradients
            return [g * tf.cast(d_value, g.dtype) for g in found]

        return (value, *rest), backward

    value, *rest = summed(*arrays)
    return value, tuple(map(tf.stop_gradient, rest))


def threads() -> int:
    return int(tf.config.threading.get_intra_op_parallelism_threads())


def own(array: Array) -> bool:
    return False  # shapes are no tuples here


def concrete(array: Array) -> np.ndarray | None:
    if not tf.is_tensor(array):
        return np.asarray(array)
    return array.numpy() if hasattr(array, "numpy") else None


def require(condition: Array, message: str, value: Array) -> Array:
    with tf.control_dependencies([tf.debugging.Assert(condition, [message])]):
        return tf.identity(value)


def exact(activation: Activation) -> Activation:
    return activation


def float64() -> AbstractContextManager[None]:
    return nullcontext()


class StateVariable(_state_variable.StateVariable):
    def _initialize(self, value: Any) -> None:
        # A free batch axis also inside graphs that were traced for another batch.
        shape = tf.TensorShape([None, *value.shape[1:]])
        self._value = tf.Variable(
            value, dtype=self._dtype, trainable=False, name=self.name, shape=shape
        )


def compile_function(function: Any, variables: Sequence[Any]) -> Any:
    # Autograph would rewrite what is written for all frameworks, and wrap its errors.
    traced = tf.function(function, autograph=False)
    # One for each set of shapes, kept here: called itself, `traced` warns of each new shape.
    compiled: dict[Any, Any] = {}

    def run(*nests: Any) -> Any:
        shapes = tuple((tuple(a.shape), a.dtype) for a in tf.nest.flatten(nests))
        if shapes not in compiled:
            compiled[shapes] = traced.get_concrete_function(*nests)
        return compiled[shapes](*nests)

    return run


def without_gradients() -> AbstractContextManager[None]:
    return nullcontext()  # they are asked for with a tape


def gradients(function: Any, arrays: Sequence[np.ndarray]) -> tuple[Array, list[Array]]:
    tensors = [tf.convert_to_tensor(array) for array in arrays]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        value = function(*tensors)
    return value, tape.gradient(value, tensors, unconnected_gradients="zero")


def in_one_pass(optimizer: type) -> type:
    return optimizer
