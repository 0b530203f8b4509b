"""The largest logits of a linear layer, and the log of the sum of their exponentials."""

from __future__ import annotations

from collections.abc import Sequence

from keras import ops

from . import glue
from ._cross_entropy import slices
from ._request import Array


def native(arrays: Sequence[Array], k: int) -> tuple[Array, ...]:
    """Values, indices, logsumexp; `arrays` are features, kernel and, where there is one, bias."""
    features, kernel, *bias = arrays
    return tuple(
        glue.active().native_top_k(
            features, kernel, ops.cast(bias[0], "float32") if bias else None, k=k
        )
    )


def portable(arrays: Sequence[Array], k: int) -> tuple[Array, ...]:
    """The same in `keras.ops`, some rows at a time."""
    features, kernel, *bias = arrays
    work = "float64" if glue.dtype_name(features) == "float64" else "float32"
    parts = []
    for at in slices(features.shape[0]):
        z = ops.cast(features[at] @ ops.transpose(kernel), work)
        for b in bias:
            z = z + ops.cast(b, work)
        values, indices = ops.top_k(z, k)
        parts.append((values, ops.cast(indices, "int32"), _logsumexp(z, values[:, :1])))
    return tuple(ops.concatenate(part) for part in zip(*parts, strict=True))


def _logsumexp(z: Array, highest: Array) -> Array:
    # That of Keras asks for a maximum first, which an array without rows has not.
    return highest[:, 0] + ops.log(ops.sum(ops.exp(z - highest), axis=-1))
