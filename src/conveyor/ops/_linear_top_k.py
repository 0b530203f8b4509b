"""`conveyor.ops.linear_top_k`: check the axes, choose an engine, run."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np
from keras import ops

from .. import _engines
from .._engines import Array, glue
from .._errors import lesson
from . import _linear

_WHERE = "conveyor.ops.linear_top_k"


def linear_top_k(
    features: Array, kernel: Array, bias: Array | None, k: int, *, engine: str = "auto"
) -> tuple[Array, Array, Array]:
    """The k largest of features kernel^T + bias in each row, without keeping all of them.

    The output layer of a translator in a search: `values - logsumexp[:, None]` are the log
    probabilities of the best next tokens. No gradients.

    Args:
        features: (N, A) floats.
        kernel: (V, A), as an embedding has it: it may be the same array.
        bias: (V,), or None. Also float32 beside 16-bit features.
        k: how many, of 1 to V.
        engine: "auto" for the fastest that can do it, "native" or "portable".

    Returns:
        values: (N, k), largest first, float32 (float64 for float64 features);
        indices: (N, k) int32, the classes they belong to;
        logsumexp: (N,), over all V classes.

    Raises:
        ConveyorError: arrays whose axes or dtypes do not fit, each with the line to write.

    >>> import numpy as np
    >>> features, kernel = np.ones((1, 1), "float32"), np.array([[2], [9], [4]], "float32")
    >>> values, indices, logsumexp = linear_top_k(features, kernel, None, 2)
    >>> values.tolist(), indices.tolist(), round(float(logsumexp[0]), 4)
    ([[9.0, 4.0]], [[1, 2]], 9.0076)
    """
    given = {"features": features, "kernel": kernel, "bias": bias}
    _linear.check(given, _WHERE)
    classes = int(kernel.shape[0])
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or not 1 <= k <= classes:
        raise lesson(
            _WHERE,
            f"k of 1 to {classes}, the number of classes",
            f"k={k!r}",
            f"Write k=min(k, {classes}).",
        )
    in_numpy = all(a is None or isinstance(a, np.ndarray) for a in given.values())
    wide = in_numpy and features.dtype == np.float64
    with glue.active().float64() if wide else nullcontext():
        tensors = [
            ops.stop_gradient(ops.convert_to_tensor(a)) for a in given.values() if a is not None
        ]
        decision = _engines.choose_top_k(tensors, engine, _WHERE)
        found: Any = _engines.run_top_k(tensors, int(k), decision)
        if in_numpy:
            values = tuple(glue.active().concrete(each) for each in found)
            found = found if values[0] is None else values
    best, indices, total = found
    return best, indices, total
