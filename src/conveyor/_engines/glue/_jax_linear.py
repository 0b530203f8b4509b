"""JAX: the output layer of the native engine as a primitive.

    cross_entropy_p    features, kernel, bias where there is one, labels -> losses, cross
                       entropies, and with `gradients` those of the sum of the losses

`_jax.py` gives the gradients to JAX. Exported, on another platform than the CPU, and where it is
differentiated once more, the portable engine computes it.
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

_CALL = "conveyor_jax_cross_entropy"


def native_cross_entropy(
    features: Array, kernel: Array, bias: Array | None, labels: Array, **options: Any
) -> list[Array]:
    """Losses, cross entropies, and where `wanted` gradients of features, kernel and bias."""
    _register()
    arrays = (features, kernel, *(() if bias is None else (bias,)), labels)
    results: list[Array] = cross_entropy_p.bind(*_varying_alike(arrays), **options)
    return results


@cache
def _register() -> None:
    handler = jax.ffi.pycapsule(getattr(_library._core(), _CALL))
    jax.ffi.register_ffi_target(_CALL, handler, platform="cpu")


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
    features, kernel = ctx.avals_in[:2]
    return jax.ffi.ffi_lowering(_CALL)(
        ctx,
        *operands,
        dtype=np.int64(_library.DTYPES[features.dtype.name]),
        rows=np.int64(features.shape[0]),
        features=np.int64(features.shape[1]),
        classes=np.int64(kernel.shape[0]),
        bias=np.int64(len(operands) == 4),
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


cross_entropy_p: Any = Primitive("conveyor_linear_cross_entropy")
cross_entropy_p.multiple_results = True
cross_entropy_p.def_impl(run_alone(cross_entropy_p))
cross_entropy_p.def_abstract_eval(_shapes)
_elsewhere = as_portable(_portable, "a cross entropy that is exported, or not for the CPU,")
mlir.register_lowering(cross_entropy_p, _elsewhere)
mlir.register_lowering(cross_entropy_p, unless_exported(_lowering, _elsewhere), "cpu")
batching.primitive_batchers[cross_entropy_p] = partial(one_by_one, cross_entropy_p.bind)
ad.primitive_jvps[cross_entropy_p] = _jvp
