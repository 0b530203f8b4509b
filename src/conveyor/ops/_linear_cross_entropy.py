"""`conveyor.ops.linear_cross_entropy`: check the axes, choose an engine, run."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np
from keras import ops

from .. import _engines
from .._engines import Array, CrossEntropy, Decision, glue
from .._errors import lesson
from . import _linear

_WHERE = "conveyor.ops.linear_cross_entropy"


def linear_cross_entropy(
    features: Array,
    kernel: Array,
    bias: Array | None,
    labels: Array,
    *,
    label_smoothing: float = 0.0,
    ignore: int | None = 0,
    engine: str = "auto",
) -> tuple[Array, Array, Array]:
    """The cross entropy of softmax(features kernel^T + bias), summed, without keeping the logits.

    The output layer of a translator and its loss in one: for N tokens, A features and V classes
    the (N, V) logits would be the largest array of a training step by far. With label smoothing
    eps (Szegedy et al. 2016, doi:10.1109/CVPR.2016.308) the loss of a row is
    `logsumexp(z) - (1 - eps) z[label] - eps mean(z)`.

    `loss` has gradients with respect to features, kernel and bias, in float32 sums whatever the
    dtype: the first ones, in reverse mode. They are computed with it, so let it be the loss, or
    the loss times a factor. `cross_entropies` and `count` have none.

    Args:
        features: (N, A) floats.
        kernel: (V, A), as an embedding has it: it may be the same array.
        bias: (V,), or None. Also float32 beside 16-bit features.
        labels: (N,) integers, of 0 to V - 1. In compiled code nobody can look at them before: a
            label beyond that fails there (native engine) or makes the loss NaN (portable).
        label_smoothing: the probability that is spread evenly over all classes.
        ignore: the label of rows that do not count: they cost nothing, and their features get
            gradients of zero. None for no such label.
        engine: "auto" for the fastest that can do it, "native" or "portable".

    Returns:
        loss: the sum over the rows that count, float32 (float64 for float64 features);
        cross_entropies: (N,) of each row without label smoothing, 0 where ignored;
        count: how many rows count, as a float.

    Raises:
        ConveyorError: arrays whose axes or dtypes do not fit, labels beyond the classes, each
            with the line to write.

    >>> import numpy as np
    >>> features, kernel = np.ones((3, 4), "float32"), np.zeros((10, 4), "float32")
    >>> loss, cross_entropies, count = linear_cross_entropy(features, kernel, None, [7, 9, 0])
    >>> [round(float(x), 4) for x in (loss, *cross_entropies, count)]  # 2 log 10
    [4.6052, 2.3026, 2.3026, 0.0, 2.0]
    """
    found, _ = linear_cross_entropy_and_decision(
        features,
        kernel,
        bias,
        labels,
        label_smoothing=label_smoothing,
        ignore=ignore,
        engine=engine,
    )
    return found


def linear_cross_entropy_and_decision(
    features: Array,
    kernel: Array,
    bias: Array | None,
    labels: Array,
    *,
    label_smoothing: float = 0.0,
    ignore: int | None = 0,
    engine: str = "auto",
) -> tuple[tuple[Array, Array, Array], Decision]:
    """`linear_cross_entropy`, and which engine ran."""
    if not 0 <= label_smoothing < 1:
        raise lesson(
            _WHERE,
            "label_smoothing from 0 to below 1",
            f"{label_smoothing}",
            "Write label_smoothing=0.1 for a tenth, or 0.0 for none.",
        )
    given = {"features": features, "kernel": kernel, "bias": bias}
    _linear.check(given, _WHERE)
    in_numpy = all(a is None or isinstance(a, np.ndarray) for a in (*given.values(), labels))
    wide = in_numpy and features.dtype == np.float64
    with glue.active().float64() if wide else nullcontext():
        tensors = [ops.convert_to_tensor(a) for a in given.values() if a is not None]
        labels = _as_labels(labels, features.shape[0], int(kernel.shape[0]), ignore)
        decision = _engines.choose_cross_entropy(tensors, labels, engine, _WHERE)
        request = CrossEntropy(float(label_smoothing), ignore, decision.engine == "native")
        found: Any = _engines.run_cross_entropy(request, tensors, labels)
        if in_numpy:
            values = tuple(glue.active().concrete(each) for each in found)
            found = found if values[0] is None else values
    return found, decision


def _as_labels(labels: Any, rows: int | None, classes: int, ignore: int | None) -> Array:
    labels = np.asarray(labels) if isinstance(labels, (list, tuple)) else labels
    if not hasattr(labels, "dtype") or "int" not in glue.dtype_name(labels):
        given = type(labels).__name__ if not hasattr(labels, "dtype") else str(labels.dtype)
        raise lesson(
            _WHERE,
            "labels as integers, the number of a class for each row",
            given,
            'Write keras.ops.cast(labels, "int32"), or ops.argmax(one_hot, axis=-1).',
        )
    _linear.check_shape(labels, "labels", (rows,), f"({rows},), one for each row", _WHERE)
    # Before they become int32, where a large one would be another.
    _check_labels(labels, classes, ignore)
    return ops.cast(ops.convert_to_tensor(labels), "int32")


def _check_labels(labels: Array, classes: int, ignore: int | None) -> None:
    values = labels if isinstance(labels, np.ndarray) else glue.active().concrete(labels)
    if values is None or values.size == 0:
        return
    if ignore is not None and (values.min() < 0 or values.max() >= classes):
        values = values[values != ignore]
    if values.size and (values.min() < 0 or values.max() >= classes):
        worst = values.min() if values.min() < 0 else values.max()
        raise lesson(
            _WHERE,
            f"labels of 0 to {classes - 1}, as the kernel has {classes} classes",
            f"{worst}",
            f"Write ignore={worst} where that marks rows that do not count; else look at how the "
            "labels were made.",
        )
