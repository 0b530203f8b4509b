"""A function of tensors in a `tf.function`, with XLA or without."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

PACKAGES = ("tensorflow", "tensorflow-cpu")


def limit_threads(threads: int) -> None:
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)


def array(values: np.ndarray, dtype: str) -> Any:
    return tf.cast(tf.constant(values), dtype)


def to_numpy(value: Any) -> np.ndarray:
    values: np.ndarray = tf.cast(value, "float32").numpy()
    return values


def inference(
    function: Callable[..., Sequence[Any]], x: Any, weights: Sequence[Any], xla: bool = False
) -> Callable[[], Sequence[Any]]:
    # On CPU a call of a tf.function returns when its results are there.
    compiled = tf.function(lambda x: function(x, *weights), jit_compile=xla)
    return lambda: compiled(x)


def training(
    function: Callable[..., Sequence[Any]],
    x: Any,
    weights: Sequence[Any],
    cotangent: Any,
    xla: bool = False,
) -> Callable[[], tuple[Any, Any]]:
    def both(x: Any, cotangent: Any) -> tuple[Any, Any]:
        differentiated = [x, *weights]
        with tf.GradientTape() as tape:
            tape.watch(differentiated)
            outputs = function(x, *weights)
        return outputs, tape.gradient(outputs[0], differentiated, output_gradients=cotangent)

    compiled = tf.function(both, jit_compile=xla)
    return lambda: compiled(x, cotangent)


def stateful(layer: Any, rows: Sequence[Any]) -> Callable[[], Any]:
    """The steps of a stateful layer, which keeps its states in variables."""
    step = tf.function(layer)

    def run() -> Any:
        layer.reset_state()
        for row in rows:
            h = step(row)
        return h

    return run
