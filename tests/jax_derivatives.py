"""Derivatives of a loss by JAX: pushed forward, and of the second order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def derivatives(loss: Callable[[Any], Any], arrays: Any) -> Any:
    """Along one random direction: of the loss, of its gradient forward, and backward."""
    import jax
    import jax.numpy as jnp

    rng = np.random.default_rng(3)
    direction = jax.tree.map(lambda a: jnp.asarray(rng.normal(size=a.shape)), arrays)
    gradient = jax.grad(loss)

    def along(a: Any) -> Any:
        return sum(jax.tree.leaves(jax.tree.map(jnp.vdot, gradient(a), direction)))

    pushed = jax.jvp(loss, (arrays,), (direction,))
    second = jax.jvp(gradient, (arrays,), (direction,))
    return pushed, second, jax.grad(along)(arrays)
