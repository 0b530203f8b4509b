"""The output layer of the native engine as operators of PyTorch, opaque to its compilers.

conveyor::linear_cross_entropy    losses, cross entropies, and the gradients of the sum of the
                                  losses where `gradients` says so; `_torch.py` gives them to
                                  autograd.
"""

from __future__ import annotations

from typing import Any

import torch

from .. import _library, _linear
from .._request import Array
from ._torch_operators import _check, library
from ._torch_vmap import one_by_one

library.define(
    "linear_cross_entropy(Tensor features, Tensor kernel, Tensor? bias, Tensor labels, "
    "float label_smoothing, int ignored, bool gradients) -> Tensor[]"
)
_operator = torch.ops.conveyor.linear_cross_entropy.default
_DTYPES = {torch.float32: "float32", torch.bfloat16: "bfloat16"}


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
    results: list[Array] = _operator(
        features, kernel, bias, labels, label_smoothing, ignored, wanted
    )
    return results


def _cross_entropy(
    features: Array,
    kernel: Array,
    bias: Array | None,
    labels: Array,
    label_smoothing: float,
    ignored: int,
    gradients: bool,
) -> list[Array]:
    features, kernel, labels = features.contiguous(), kernel.contiguous(), labels.contiguous()
    bias = None if bias is None else bias.contiguous()
    _check_all(features, kernel, bias, labels)
    results = _empty(features, kernel, bias, labels, label_smoothing, ignored, gradients)
    _linear.cross_entropy(
        _problem(features, kernel),
        features.data_ptr(),
        kernel.data_ptr(),
        0 if bias is None else bias.data_ptr(),
        labels.data_ptr(),
        label_smoothing,
        ignored,
        [r.data_ptr() for r in results] + [0] * (5 - len(results)),
    )
    return results


def _check_all(features: Array, kernel: Array, bias: Array | None, labels: Array) -> None:
    """`ops.linear_cross_entropy` has looked; this is for those who call the operator itself."""
    (rows, width), classes, dtype = features.shape, kernel.shape[0], features.dtype
    _check((kernel.shape, kernel.dtype), "kernel", (classes, width), dtype)
    _check((labels.shape, labels.dtype), "labels", (rows,), torch.int32)
    if bias is not None:
        _check((bias.shape, bias.dtype), "bias", (classes,), torch.float32)


def _problem(features: Array, kernel: Array) -> _linear.Problem:
    rows, width = features.shape
    threads = _library.threads_beside(torch.get_num_threads())
    return _linear.Problem(_DTYPES[features.dtype], rows, width, kernel.shape[0], threads)


def _empty(
    features: Array,
    kernel: Array,
    bias: Array | None,
    labels: Array,
    label_smoothing: float,
    ignored: int,
    gradients: bool,
) -> list[Any]:
    results = [features.new_empty(features.shape[:1], dtype=torch.float32) for _ in range(2)]
    if gradients:
        # Not like the arguments: a gradient has its own layout, and is no parameter.
        results += [features.new_empty(features.shape), kernel.new_empty(kernel.shape)]
        results += [] if bias is None else [bias.new_empty(bias.shape)]
    return results


library.impl("linear_cross_entropy", _cross_entropy, "CPU")
torch.library.register_fake("conveyor::linear_cross_entropy", _empty, lib=library)
torch.library.register_vmap("conveyor::linear_cross_entropy", one_by_one(_operator), lib=library)
