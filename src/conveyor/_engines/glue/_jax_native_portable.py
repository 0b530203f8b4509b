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

from ..._vocabulary import StateName
from .. import _library, _native, _portable
from .._request import Array, LSTMRequest

Names = tuple[str, ...]
StateNames = tuple[StateName, ...]


def as_request(lstm: LSTMRequest, given: Names, operands: Sequence[Array]) -> LSTMRequest:
    """The request with its arrays, which come first among the operands."""
    named: dict[str, Any] = dict(zip(given, operands, strict=False))
    return replace(lstm, **named)


def forward(
    *arrays: Array, lstm: LSTMRequest, given: Names, outputs: StateNames, keep: bool
) -> list[Array]:
    """The states, and where the core would keep something, room for it that nobody reads."""
    r = as_request(lstm, given, arrays)
    states = _portable.run(replace(r, outputs=outputs))
    reserve = [jnp.zeros(_library.reserve_bytes(_native.problem(r)), "uint8")] if keep else []
    return [*(states[name] for name in outputs), *reserve]


def tangent(
    *operands: Array, lstm: LSTMRequest, given: Names, outputs: StateNames, moving: Names
) -> list[Array]:
    """How the states move when arrays move, by forward-mode differentiation."""
    states_of, at = _function_of(moving, lstm, given, outputs, operands)
    t_states: list[Array]
    _, t_states = jax.jvp(states_of, at, operands[len(given) + 2 :])
    return t_states


def backward(
    *operands: Array, lstm: LSTMRequest, given: Names, arriving: StateNames, wanted: Names
) -> tuple[Array, ...]:
    """The gradients of arrays, by reverse-mode differentiation."""
    states_of, at = _function_of(wanted, lstm, given, arriving, operands)
    _, gradients_of = jax.vjp(states_of, *at)
    gradients: tuple[Array, ...] = gradients_of(list(operands[len(given) + 2 :]))
    return gradients


def _function_of(
    names: Names, lstm: LSTMRequest, given: Names, outputs: StateNames, operands: Sequence[Array]
) -> tuple[Callable[..., list[Array]], tuple[Array, ...]]:
    """The states as a function of the named arrays alone, and where to take it."""
    r = as_request(lstm, given, operands)

    def states_of(*arrays: Array) -> list[Array]:
        changed: dict[str, Any] = dict(zip(names, arrays, strict=True))
        states = _portable.run(replace(r, **changed, outputs=outputs))
        return [states[name] for name in outputs]

    return states_of, tuple(getattr(r, name) for name in names)
