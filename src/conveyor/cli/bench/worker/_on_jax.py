"""A function of arrays, compiled and timed as JAX's users do it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np

PACKAGES = ("jax", "jaxlib")


def limit_threads(threads: int) -> None:
    """XLA was told by the environment and by the cores that it sees."""


def array(values: np.ndarray, dtype: str) -> Any:
    return jnp.asarray(values, dtype)


def to_numpy(value: Any) -> np.ndarray:
    return np.asarray(value.astype("float32"))


def inference(
    function: Callable[..., Sequence[Any]], x: Any, weights: Sequence[Any]
) -> Callable[[], Sequence[Any]]:
    compiled = jax.jit(function)
    return lambda: jax.block_until_ready(compiled(x, *weights))


def training(
    function: Callable[..., Sequence[Any]], x: Any, weights: Sequence[Any], cotangent: Any
) -> Callable[[], tuple[Any, Any]]:
    def both(x: Any, weights: Any, cotangent: Any) -> tuple[Any, Any]:
        def split(x: Any, weights: Any) -> tuple[Any, Any]:
            first, *others = function(x, *weights)
            return first, others

        first, pull, others = jax.vjp(split, x, weights, has_aux=True)
        d_x, d_weights = pull(cotangent)
        return (first, *others), (d_x, *d_weights)

    compiled, weights = jax.jit(both), tuple(weights)
    return lambda: jax.block_until_ready(compiled(x, weights, cotangent))


def stateful(layer: Any, rows: Sequence[Any]) -> Callable[[], Any]:
    """The steps of a stateful layer, whose states are carried from call to call."""
    weights = [variable.value for variable in layer.trainable_variables]
    zeros = [jnp.zeros_like(variable.value) for variable in layer.states]

    # Keras does not count the states among the variables of `stateless_call`.
    def one_step(weights: list[Any], states: list[Any], row: Any) -> tuple[Any, list[Any]]:
        values = zip([*layer.trainable_variables, *layer.states], [*weights, *states], strict=True)
        with keras.StatelessScope(state_mapping=values) as scope:
            h = layer(row)
        return h, [scope.get_current_value(variable) for variable in layer.states]

    step = jax.jit(one_step)

    def run() -> Any:
        states = zeros
        for row in rows:
            h, states = jax.block_until_ready(step(weights, states, row))
        return h

    return run
