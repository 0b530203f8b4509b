"""Arrays as they come, NumPy or tensors, and as they go back."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import numpy as np
from keras import ops

from .._engines import Array, glue
from . import _checks
from ._lengths import lengths_to_mask


def all_numpy(x: Array, *others: Any) -> bool:
    """Whether NumPy is to come back."""
    return isinstance(x, np.ndarray) and all(
        a is None or isinstance(a, (np.ndarray, list, tuple)) for a in others
    )


def in_their_width(x: Array, in_numpy: bool) -> AbstractContextManager[None]:
    """A context in which float64 of NumPy stays what it is."""
    wide = in_numpy and x.dtype == np.float64
    return cast(AbstractContextManager[None], glue.active().float64()) if wide else nullcontext()


def as_tensors(arrays: dict[str, Array | None]) -> dict[str, Any]:
    """The same arrays as the framework has them."""
    own = glue.active().own
    return {
        name: array if array is None or own(array) else ops.convert_to_tensor(array)
        for name, array in arrays.items()
    }


def as_numpy(states: tuple[Array, ...]) -> tuple[Array, ...]:
    """The states as NumPy; tensors where they have no values so far."""
    values = tuple(glue.active().concrete(state) for state in states)
    # NumPy arrays that were constants of a compiled function have no values yet.
    return states if values[0] is None else values


def steps_that_count(x: Array, mask: Array | None, lengths: Any, where: str) -> Array | None:
    """`mask` and `lengths` as one mask (B, T) of booleans; None where all steps count."""
    if mask is not None:
        _checks.check_mask(mask, x.shape[0], x.shape[1], where)
        mask = ops.cast(ops.convert_to_tensor(mask), "bool")
    if lengths is None:
        return mask
    within = lengths_to_mask(lengths, x, where)
    return within if mask is None else ops.logical_and(mask, within)
