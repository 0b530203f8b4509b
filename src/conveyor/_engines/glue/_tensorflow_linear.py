"""The output layer of the native engine on TensorFlow; see `_tensorflow_native.py`."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from .. import _library
from .._request import Array
from ._tensorflow_native import ops, threads


def native_cross_entropy(
    features: Array,
    kernel: Array,
    bias: Array | None,
    labels: Array,
    *,
    label_smoothing: float,
    ignored: int,
    wanted: bool,
) -> list[Array]:
    """Losses, cross entropies, and where `wanted` gradients of features, kernel and bias."""
    biases = [] if bias is None else [bias]
    gradients = [features, kernel, *biases] if wanted else []
    results: list[Any] = ops().conveyor_linear_cross_entropy(
        [features, kernel, *biases, labels],
        result_types=[tf.float32, tf.float32, *(a.dtype for a in gradients)],
        dtype=_library.DTYPES[features.dtype.name],
        threads=threads(),
        bias=len(biases),
        gradients=int(wanted),
        ignored=ignored,
        label_smoothing=label_smoothing,
    )
    if not tf.executing_eagerly():
        row = features.shape[:1]
        for result, shape in zip(results, [row, row, *(a.shape for a in gradients)], strict=True):
            result.set_shape(shape)
    return results


def native_top_k(features: Array, kernel: Array, bias: Array | None, *, k: int) -> list[Array]:
    """Values, indices, logsumexp."""
    biases = [] if bias is None else [bias]
    results: list[Any] = ops().conveyor_linear_top_k(
        [features, kernel, *biases],
        result_types=[tf.float32, tf.int32, tf.float32],
        dtype=_library.DTYPES[features.dtype.name],
        threads=threads(),
        bias=len(biases),
        k=k,
    )
    if not tf.executing_eagerly():
        rows = features.shape[0]
        for result, shape in zip(results, ([rows, k], [rows, k], [rows]), strict=True):
            result.set_shape(shape)
    return results
