"""Where the states begin anew inside a sequence."""

from __future__ import annotations

from typing import Any

from keras import ops

from .._engines import Array, glue
from . import _checks


def begin_anew(x: Array, resets: Any, go_backwards: bool, where: str) -> Array:
    """`resets` as engines read them: uint8 (B, T), what to do before a step is read."""
    _checks.check_resets(resets, x.shape[0], x.shape[1], where)
    resets = ops.convert_to_tensor(resets)
    counts = "int" in glue.dtype_name(resets)
    # Compared and not cast: 256 would be nothing in eight bits.
    anew = ops.cast(ops.not_equal(resets, 0), "uint8")
    resets = ops.where(ops.equal(resets, 2), 2 * anew, anew) if counts else anew
    if go_backwards:
        # Between t - 1 and t, read the other way: before t - 1.
        resets = ops.concatenate([resets[:, 1:], ops.zeros_like(resets[:, :1])], axis=1)
    return resets
