"""Lengths of sequences as a mask over time steps."""

from __future__ import annotations

import numpy as np
from keras import KerasTensor, ops

from .._engines import Array, glue
from .._errors import lesson


def lengths_to_mask(lengths: Array, x: Array, where: str = "lengths_to_mask") -> Array:
    """True at the first `lengths[b]` time steps of sequence b.

    While a framework traces (`jax.jit`, `tf.function`) the values cannot be seen; then a
    length beyond the time axis means all of it, and a negative one none.

    Args:
        lengths: (B,) integers from 0 to T.
        x: (B, T, ...) the padded sequences; only its two leading axes matter.
        where: who asks, for the error.

    Returns:
        (B, T) booleans.

    Raises:
        ConveyorError: lengths that are not (B,) integers between 0 and T.

    >>> import numpy as np
    >>> mask = lengths_to_mask([2, 0], np.zeros((2, 3, 1)))
    >>> np.asarray(mask).tolist()
    [[True, True, False], [False, False, False]]
    """
    if not isinstance(lengths, KerasTensor):
        lengths = _check(lengths, x, where)
    # Counted rather than ops.arange(T): T may be unknown until the model runs.
    steps = ops.cumsum(ops.ones_like(x[:, :, 0] if len(x.shape) > 2 else x, "int32"), axis=1)
    return steps <= ops.expand_dims(ops.cast(lengths, "int32"), 1)


def _check(lengths: Array, x: Array, where: str) -> Array:
    batch, time_steps = x.shape[:2]
    want = (
        f"lengths of shape (batch,) = ({batch},), whole numbers from 0 to time_steps = {time_steps}"
    )
    write = f"Write lengths=[...] with one number of time steps for each of the {batch} sequences."
    try:
        array = lengths if hasattr(lengths, "dtype") else np.asarray(lengths)
    except ValueError:
        raise lesson(where, want, repr(lengths), write) from None
    if len(array.shape) != 1 or (None not in (batch, array.shape[0]) and array.shape[0] != batch):
        raise lesson(where, want, f"shape {tuple(array.shape)}", write)
    if "int" not in glue.dtype_name(array):
        raise lesson(where, want, f"dtype {glue.dtype_name(array)}", write)
    array = ops.convert_to_tensor(array)
    values = glue.active().concrete(array)
    if values is not None and time_steps is not None:
        wrong = np.flatnonzero((values < 0) | (values > time_steps))
        if wrong.size:
            b = int(wrong[0])
            raise lesson(where, want, f"lengths[{b}] = {int(values[b])}", write)
    return array
