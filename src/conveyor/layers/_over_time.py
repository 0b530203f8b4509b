"""A loop over time steps with gradients, for what is between the steps of an LSTM."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras import ops

from .._engines import Array, glue
from . import _recording

Step = Callable[[tuple[Array, ...], tuple[Array, ...]], tuple[Array, ...]]


def over_time(
    step: Step, carry: tuple[Array, ...], steps: tuple[Array, ...]
) -> tuple[Array, tuple[Array, ...]]:
    """`carry = step(carry, arrays of one step)` along axis 1 of the arrays in `steps`.

    `jax.lax.scan`, `tf.while_loop` or a Python loop, whichever Keras runs on. An LSTM by itself
    needs none of this; a decoder does that reads its own attention.

    Args:
        step: returns the new carry, same shapes and dtypes as the old.
        carry: what goes from step to step.
        steps: (B, T, ...) each.

    Returns:
        The first array of the carry after each step, (B, T, ...), and the last carry.

    >>> import numpy as np
    >>> x = np.arange(6, dtype="float32").reshape(1, 3, 2)
    >>> sums, _ = over_time(lambda c, x: (c[0] + x[0],), (ops.zeros((1, 2)),), (x,))
    >>> ops.convert_to_numpy(sums)[0].tolist()
    [[0.0, 1.0], [2.0, 4.0], [6.0, 9.0]]
    """
    time_first = tuple(ops.swapaxes(ops.convert_to_tensor(array), 0, 1) for array in steps)

    def one(carry: Any, row: Any) -> Any:
        carry = step(tuple(carry), tuple(row))
        return carry, (carry[0],)

    if _recording.records() is not None:  # whose arrays must not be those of a compiled loop
        written = []
        for row in zip(*(ops.unstack(array) for array in time_first), strict=True):
            carry = step(carry, row)
            written.append(carry[0])
        return ops.stack(written, axis=1), carry
    last, (rows,) = glue.active().scan(one, carry, time_first, kept=1, unroll=False)
    return ops.swapaxes(rows, 0, 1), tuple(last)
