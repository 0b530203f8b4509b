"""A function of arrays, compiled and timed as JAX's users do it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
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
