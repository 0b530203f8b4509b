"""JAX: the loop is one `lax.scan`."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import jax
import numpy as np
from jax import lax

from .._request import Array
from ._state_variable import StateVariable as StateVariable


def scan(step: Any, carry: Any, steps: tuple[Array, ...], *, kept: int, unroll: bool) -> Any:
    return lax.scan(step, carry, steps, unroll=True if unroll else 1)


def concrete(array: Array) -> np.ndarray | None:
    return None if isinstance(array, jax.core.Tracer) else np.asarray(array)


def require(condition: Array, message: str) -> None:
    """Shapes are known while this framework traces: the caller has looked already."""


def float64() -> AbstractContextManager[None]:
    context: AbstractContextManager[None] = jax.enable_x64(True)
    return context
