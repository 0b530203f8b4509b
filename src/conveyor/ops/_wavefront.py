"""Layers one above the other in one call of the core, which computes them along a diagonal."""

from __future__ import annotations

from collections.abc import Sequence

from .._engines import Array, glue

# Of one gate. The core runs larger layers one after the other (kLargestWeights in together.cc):
# for them the call would gain nothing, and keep the gradients of all layers at a time.
_LARGEST_WEIGHTS = 1 << 15


def suits(features: int, sizes: Sequence[tuple[int, int]]) -> bool:
    """Whether a stack is one call of the core; `sizes` are those of the states of its layers."""
    if glue.active().native_stack is None:
        return False
    read = (features, *(hidden for hidden, _ in sizes))
    return all((f + u) * u <= _LARGEST_WEIGHTS for f, (_, u) in zip(read, sizes, strict=False))


def promised(x: Array, width: int) -> Array:
    """(B, T, width) in place of what a layer will return for x: a shape, of any values."""
    empty: Array = glue.active().empty(x, width)
    return empty
