"""JAX: the primitives of the native engine, as the portable engine computes them.

For derivatives that the core does not have, and for other platforms than the CPU. Each computes one
part, of its operands.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp

from .._cells import Names
from .._request import Array
from ._jax_native_parts import Backward, Forward, Part, Tangent


def as_request(part: Part, operands: Sequence[Array]) -> Any:
    """The request with its arrays, which come first among the operands."""
    named: dict[str, Any] = dict(zip(part.given, operands, strict=False))
    return replace(part.request, **named)


def forward(part: Forward, *arrays: Array) -> list[Array]:
    """The states, and where the core would keep something, room for it that nobody reads."""
    r, cell = as_request(part, arrays), part.cell
    states = cell.run(replace(r, outputs=part.outputs))
    kept = [jnp.zeros(cell.core.reserve_bytes(cell.problem(r)), "uint8")] if part.keep else []
    return [*states, *kept]


def tangent(part: Tangent, *operands: Array) -> list[Array]:
    """How the states move when arrays move, by forward-mode differentiation."""
    states_of, at = _function_of(part.moving, part, part.outputs, operands)
    t_states: list[Array]
    _, t_states = jax.jvp(states_of, at, operands[len(part.given) + 2 :])
    return t_states


def backward(part: Backward, *operands: Array) -> tuple[Array, ...]:
    """The gradients of arrays, by reverse-mode differentiation."""
    states_of, at = _function_of(part.wanted, part, part.arriving, operands)
    _, gradients_of = jax.vjp(states_of, *at)
    gradients: tuple[Array, ...] = gradients_of(list(operands[len(part.given) + 2 :]))
    return gradients


def _function_of(
    names: Names, part: Part, outputs: Names, operands: Sequence[Array]
) -> tuple[Callable[..., list[Array]], tuple[Array, ...]]:
    """The states as a function of the named arrays alone, and where to take it."""
    r = as_request(part, operands)

    def states_of(*arrays: Array) -> list[Array]:
        changed: dict[str, Any] = dict(zip(names, arrays, strict=True))
        return part.cell.run(replace(r, **changed, outputs=outputs))

    return states_of, tuple(getattr(r, name) for name in names)
