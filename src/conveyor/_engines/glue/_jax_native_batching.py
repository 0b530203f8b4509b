"""JAX: `vmap` of the native engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.interpreters import batching

from .._request import Array
from . import _jax_native_portable as portable
from ._jax_native_parts import Backward, Forward, Tangent, in_turn

_Dims = Sequence[int | None]
_Results = tuple[Sequence[Array], Sequence[int | None]]
_Run = Callable[..., Sequence[Array]]


def register(forward_p: Any, tangent_p: Any, backward_p: Any) -> None:
    """More sequences for the same weights are a larger batch; other weights, another call."""
    batching.primitive_batchers[forward_p] = _part_by_part(forward_p, _forward)
    batching.primitive_batchers[tangent_p] = _part_by_part(tangent_p, _tangent)
    # The core adds up the gradients of the weights over its batch, and here they are wanted
    # for each element. What the forward pass kept for one call, one call must read.
    batching.primitive_batchers[backward_p] = _part_by_part(backward_p, _backward)


def _part_by_part(primitive: Any, rule: Callable[..., _Results]) -> Callable[..., _Results]:
    """Each part becomes a call of its own."""

    def of_one(part: Any, *pairs: tuple[Array, int | None]) -> list[tuple[Array, int | None]]:
        its, dims = [a for a, _ in pairs], [dim for _, dim in pairs]
        run = partial(primitive.bind, parts=(part,))
        if all(dim is None for dim in dims):
            return [(result, None) for result in run(*its)]
        return list(zip(*rule(run, its, dims, part=part), strict=True))

    def all_of(operands: Sequence[Array], dims: _Dims, *, parts: tuple[Any, ...]) -> _Results:
        pairs = in_turn(parts, list(zip(operands, dims, strict=True)), of_one)
        return [result for result, _ in pairs], [dim for _, dim in pairs]

    return all_of


def _forward(run: _Run, arrays: Sequence[Array], dims: _Dims, *, part: Forward) -> _Results:
    given, weights = part.given, part.cell.weights
    mapped = {name for name, dim in zip(given, dims, strict=True) if dim is not None}
    if part.keep or mapped & set(weights):
        return one_by_one(run, arrays, dims)
    size = _size(arrays, dims)
    folded = [
        a if name in weights else _fold(name, a, dim, size)
        for name, a, dim in zip(given, arrays, dims, strict=True)
    ]
    states = run(*folded)
    return [s.reshape(size, s.shape[0] // size, *s.shape[1:]) for s in states], [0] * len(states)


def _fold(name: str, array: Array, dim: int | None, size: int) -> Array:
    """The mapped axis and the batch as one axis."""
    per_gate = name.endswith("dropout_mask") and array.ndim - (dim is not None) == 3
    axis = 1 if per_gate else 0
    if dim is None:
        array = jnp.repeat(jnp.expand_dims(array, axis), size, axis)
    else:
        array = jnp.moveaxis(array, dim, axis)
    before, after = array.shape[:axis], array.shape[axis + 2 :]
    return array.reshape(*before, size * array.shape[axis + 1], *after)


def _backward(run: _Run, operands: Sequence[Array], dims: _Dims, *, part: Backward) -> _Results:
    return one_by_one(run, operands, dims)


def one_by_one(run: _Run, operands: Sequence[Array], dims: _Dims, **params: Any) -> _Results:
    """A call for each element of the mapped axis."""
    mapped = {n: dim for n, dim in enumerate(dims) if dim is not None}

    def one(arrays: Sequence[Array]) -> Sequence[Array]:
        changed = dict(zip(mapped, arrays, strict=True))
        return run(*(changed.get(n, a) for n, a in enumerate(operands)), **params)

    results = lax.map(one, [jnp.moveaxis(operands[n], dim, 0) for n, dim in mapped.items()])
    return results, [0] * len(results)


def _tangent(run: _Run, operands: Sequence[Array], dims: _Dims, *, part: Tangent) -> _Results:
    results = jax.vmap(partial(portable.tangent, part), in_axes=tuple(dims))(*operands)
    return results, [0] * len(results)


def _size(arrays: Sequence[Array], dims: _Dims) -> int:
    return next(int(a.shape[d]) for a, d in zip(arrays, dims, strict=True) if d is not None)
