"""JAX: the primitives of the native engine, as the portable engine computes them.

For derivatives that the core does not have, and for other platforms than the CPU. The operands
and the parameters are those of the primitives.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp

from .. import _cells
from .._cells import Names
from .._request import Array


def as_request(request: Any, given: Names, operands: Sequence[Array]) -> Any:
    """The request with its arrays, which come first among the operands."""
    named: dict[str, Any] = dict(zip(given, operands, strict=False))
    return replace(request, **named)


def forward(*arrays: Array, request: Any, given: Names, outputs: Names, keep: bool) -> list[Array]:
    """The states, and where the core would keep something, room for it that nobody reads."""
    r = as_request(request, given, arrays)
    cell = _cells.of(r)
    states = cell.run(replace(r, outputs=outputs))
    reserve = [jnp.zeros(cell.core.reserve_bytes(cell.problem(r)), "uint8")] if keep else []
    return [*states, *reserve]


def tangent(
    *operands: Array, request: Any, given: Names, outputs: Names, moving: Names
) -> list[Array]:
    """How the states move when arrays move, by forward-mode differentiation."""
    states_of, at = _function_of(moving, request, given, outputs, operands)
    t_states: list[Array]
    _, t_states = jax.jvp(states_of, at, operands[len(given) + 2 :])
    return t_states


def backward(
    *operands: Array, request: Any, given: Names, arriving: Names, wanted: Names
) -> tuple[Array, ...]:
    """The gradients of arrays, by reverse-mode differentiation."""
    states_of, at = _function_of(wanted, request, given, arriving, operands)
    _, gradients_of = jax.vjp(states_of, *at)
    gradients: tuple[Array, ...] = gradients_of(list(operands[len(given) + 2 :]))
    return gradients


def _function_of(
    names: Names, request: Any, given: Names, outputs: Names, operands: Sequence[Array]
) -> tuple[Callable[..., list[Array]], tuple[Array, ...]]:
    """The states as a function of the named arrays alone, and where to take it."""
    r = as_request(request, given, operands)

    def states_of(*arrays: Array) -> list[Array]:
        changed: dict[str, Any] = dict(zip(names, arrays, strict=True))
        return _cells.of(r).run(replace(r, **changed, outputs=outputs))

    return states_of, tuple(getattr(r, name) for name in names)
