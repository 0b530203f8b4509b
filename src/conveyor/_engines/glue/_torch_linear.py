"""The output layer of the native engine as operators of PyTorch, opaque to its compilers.

conveyor::linear_cross_entropy    losses, cross entropies, and the gradients of the sum of the
                                  losses where `gradients` says so; `_torch.py` gives them to
                                  autograd.
conveyor::linear_top_k            values, indices, logsumexp.
"""

from __future__ import annotations

from typing import Any

import torch

from .. import _library, _linear
from .._request import Array
from ._torch_operators import check, library
from ._torch_vmap import one_by_one

library.define(
    "linear_cross_entropy(Tensor features, Tensor kernel, Tensor? bias, Tensor labels, "
    "float label_smoothing, int ignored, bool gradients) -> Tensor[]"
)
_operator = torch.ops.conveyor.linear_cross_entropy.default
library.define("linear_top_k(Tensor features, Tensor kernel, Tensor? bias, int k) -> Tensor[]")
_top_k_operator = torch.ops.conveyor.linear_top_k.default
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


def native_top_k(features: Array, kernel: Array, bias: Array | None, *, k: int) -> list[Array]:
    """Values, indices, logsumexp."""
    results: list[Array] = _top_k_operator(features, kernel, bias, k)
    return results


def _top_k(features: Array, kernel: Array, bias: Array | None, k: int) -> list[Array]:
    features, kernel = features.contiguous(), kernel.contiguous()
    bias = None if bias is None else bias.contiguous()
    _check_all(features, kernel, bias)
    results = _empty_top_k(features, kernel, bias, k)
    _linear.top_k(
        _problem(features, kernel),
        features.data_ptr(),
        kernel.data_ptr(),
        0 if bias is None else bias.data_ptr(),
        k,
        [r.data_ptr() for r in results],
    )
    return results


def _empty_top_k(features: Array, kernel: Array, bias: Array | None, k: int) -> list[Any]:
    rows = features.shape[0]
    return [
        features.new_empty((rows, k), dtype=torch.float32),
        features.new_empty((rows, k), dtype=torch.int32),
        features.new_empty((rows,), dtype=torch.float32),
    ]


def _check_all(
    features: Array, kernel: Array, bias: Array | None, labels: Array | None = None
) -> None:
    """`conveyor.ops` has looked; this is for those who call the operators themselves."""
    (rows, width), classes, dtype = features.shape, kernel.shape[0], features.dtype
    check((kernel.shape, kernel.dtype), "kernel", (classes, width), dtype)
    if labels is not None:
        check((labels.shape, labels.dtype), "labels", (rows,), torch.int32)
    if bias is not None:
        check((bias.shape, bias.dtype), "bias", (classes,), torch.float32)


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


for _name, _kernel, _fake, _itself in (
    ("linear_cross_entropy", _cross_entropy, _empty, _operator),
    ("linear_top_k", _top_k, _empty_top_k, _top_k_operator),
):
    library.impl(_name, _kernel, "CPU")
    torch.library.register_fake(f"conveyor::{_name}", _fake, lib=library)
    torch.library.register_vmap(f"conveyor::{_name}", one_by_one(_itself), lib=library)
