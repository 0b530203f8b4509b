"""JAX: the output layer of the native engine as two primitives.

    cross_entropy_p    features, kernel, bias where there is one, labels -> losses, cross
                       entropies, and where `wanted` the gradients of the sum of the losses
    top_k_p            features, kernel, bias where there is one -> values, indices, logsumexp

`_jax.py` gives the gradients to JAX; the largest have none. Exported, on another platform than
the CPU, and where they are differentiated once more, the portable engine computes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from .. import _library, _linear
from .._request import Array
from ._jax_native import _varying_alike
from ._jax_native_batching import one_by_one
from ._jax_native_lowering import as_portable, run_alone, say, unless_exported
from ._jax_native_primitives import like

_CROSS_ENTROPY, _TOP_K = "conveyor_jax_cross_entropy", "conveyor_jax_top_k"


def native_cross_entropy(
    features: Array, kernel: Array, bias: Array | None, labels: Array, **options: Any
) -> list[Array]:
    """Losses, cross entropies, and where `wanted` gradients of features, kernel and bias."""
    _register()
    arrays = (features, kernel, *(() if bias is None else (bias,)), labels)
    results: list[Array] = cross_entropy_p.bind(*_varying_alike(arrays), **options)
    return results


def native_top_k(features: Array, kernel: Array, bias: Array | None, *, k: int) -> list[Array]:
    """Values, indices, logsumexp."""
    _register()
    arrays = (features, kernel, *(() if bias is None else (bias,)))
    results: list[Array] = top_k_p.bind(*_varying_alike(arrays), k=k)
    return results


@cache
def _register() -> None:
    for name in (_CROSS_ENTROPY, _TOP_K):
        handler = jax.ffi.pycapsule(getattr(_library._core(), name))
        jax.ffi.register_ffi_target(name, handler, platform="cpu")


def _top_k_shapes(features: Any, *_: Any, k: int) -> list[Any]:
    rows = features.shape[0]
    values, total = (like(features, shape, "float32") for shape in ((rows, k), (rows,)))
    return [values, values.update(dtype=jnp.dtype("int32")), total]


def _portable_top_k(*arrays: Array, k: int) -> tuple[Array, ...]:
    from .. import _top_k  # which imports the glue

    return _top_k.portable(arrays, k)


def _top_k_lowering(ctx: Any, *operands: Any, k: int) -> Any:
    layer = _layer(ctx, bias=len(operands) == 3)
    return jax.ffi.ffi_lowering(_TOP_K)(ctx, *operands, **layer, k=np.int64(k))


def _layer(ctx: Any, bias: bool) -> dict[str, np.int64]:
    """What `native/bindings/jax_linear.cc` reads for both."""
    features, kernel = ctx.avals_in[:2]
    return {
        "dtype": np.int64(_library.DTYPES[features.dtype.name]),
        "rows": np.int64(features.shape[0]),
        "features": np.int64(features.shape[1]),
        "classes": np.int64(kernel.shape[0]),
        "bias": np.int64(bias),
    }


def _shapes(features: Any, kernel: Any, *rest: Any, wanted: bool, **_: Any) -> list[Any]:
    row = like(features, features.shape[:1], "float32")
    gradients = [like(a, a.shape, a.dtype) for a in (features, kernel, *rest[:-1])]
    return [row, row, *(gradients if wanted else [])]


def _portable(
    *arrays: Array, label_smoothing: float, ignored: int, wanted: bool
) -> tuple[Array, ...]:
    from .. import _cross_entropy  # which imports the glue

    *floats, labels = arrays
    ignore = None if ignored == _linear.IGNORE_NONE else ignored
    request = _cross_entropy.CrossEntropy(label_smoothing, ignore, native=False)
    losses, cross_entropies, gradients = _cross_entropy.by_rows(request, floats, labels, wanted)
    return losses, cross_entropies, *(gradients or ())


def _lowering(ctx: Any, *operands: Any, label_smoothing: float, ignored: int, wanted: bool) -> Any:
    return jax.ffi.ffi_lowering(_CROSS_ENTROPY)(
        ctx,
        *operands,
        **_layer(ctx, bias=len(operands) == 4),
        label_smoothing=np.float64(label_smoothing),
        ignored=np.int64(ignored),
        gradients=np.int64(wanted),
    )


def _jvp(arrays: Sequence[Array], tangents: Sequence[Any], **params: Any) -> Any:
    say("the second derivative of a cross entropy")
    moving = [
        n
        for n, t in enumerate(tangents)
        if type(t) is not ad.Zero and jnp.issubdtype(arrays[n].dtype, jnp.floating)
    ]

    def function(*moved: Array) -> tuple[Array, ...]:
        changed = dict(zip(moving, moved, strict=True))
        return _portable(*(changed.get(n, a) for n, a in enumerate(arrays)), **params)

    at = tuple(arrays[n] for n in moving)
    _, moved = jax.jvp(function, at, tuple(tangents[n] for n in moving))
    return cross_entropy_p.bind(*arrays, **params), list(moved)


def _primitive(name: str, shapes: Any, lowering: Any, portable: Any, what: str) -> Any:
    primitive: Any = Primitive(name)
    primitive.multiple_results = True
    primitive.def_impl(run_alone(primitive))
    primitive.def_abstract_eval(shapes)
    says = f"{what} that is exported, or not for the CPU,"
    elsewhere = as_portable(portable, lambda **_: says)
    mlir.register_lowering(primitive, elsewhere)
    mlir.register_lowering(primitive, unless_exported(lowering, elsewhere), "cpu")
    batching.primitive_batchers[primitive] = partial(one_by_one, primitive.bind)
    return primitive


cross_entropy_p = _primitive(
    "conveyor_linear_cross_entropy", _shapes, _lowering, _portable, "a cross entropy"
)
top_k_p = _primitive(
    "conveyor_linear_top_k", _top_k_shapes, _top_k_lowering, _portable_top_k, "a search"
)
ad.primitive_jvps[cross_entropy_p] = _jvp
