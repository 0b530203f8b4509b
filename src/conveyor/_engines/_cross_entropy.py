"""A linear layer with softmax and cross entropy behind it: never all logits at once.

With z = features kernel^T + bias of V classes, the label y of a row and label smoothing eps
(Szegedy et al. 2016, doi:10.1109/CVPR.2016.308), its loss and the gradient of that are

    log sum exp z - (1 - eps) z_y - eps mean z        d = softmax z - (1 - eps) [y] - eps / V

The gradients of the sum over all rows follow from d while a chunk of it is there, so the forward
pass computes them where somebody will ask: no logits are kept, and none computed twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from keras import ops

from . import _linear, glue
from ._request import Array

# Rows of logits that are there at a time, and the most such chunks: a graph has each by itself.
_ROWS, _MOST_CHUNKS = 256, 64

# The sum of the losses; cross entropies (N,) and the number of rows that count; the gradients of
# the sum with respect to the arrays, where they are wanted.
Losses = tuple[Array, tuple[Array, Array], list[Array] | None]
Rows = tuple[Array, Array, list[Array] | None]  # losses and cross entropies of each row


@dataclass(frozen=True)
class CrossEntropy:
    """What `ops.linear_cross_entropy` is told beside its arrays: hashable, and what runs it."""

    label_smoothing: float
    ignore: int | None
    native: bool

    def __call__(self, arrays: Sequence[Array], labels: Array, wanted: bool) -> Losses:
        """`arrays` are features, kernel and, where there is one, bias."""
        by = _native if self.native else by_rows
        losses, cross_entropies, gradients = by(self, arrays, labels, wanted)
        count = ops.sum(ops.cast(_counts(self, labels), losses.dtype))
        return ops.sum(losses), (cross_entropies, count), gradients


def run(request: CrossEntropy, arrays: Sequence[Array], labels: Array) -> tuple[Array, ...]:
    """The loss, which has gradients; cross entropies and the number of rows, which have none."""
    loss, rest = glue.active().sum_with_gradients(request, tuple(arrays), labels)
    return (loss, *rest)


def _native(r: CrossEntropy, arrays: Sequence[Array], labels: Array, wanted: bool) -> Rows:
    features, kernel, *bias = arrays
    losses, cross_entropies, *gradients = glue.active().native_cross_entropy(
        features,
        kernel,
        ops.cast(bias[0], "float32") if bias else None,
        labels,
        label_smoothing=r.label_smoothing,
        ignored=_linear.IGNORE_NONE if r.ignore is None else r.ignore,
        wanted=wanted,
    )
    if not wanted:
        return losses, cross_entropies, None
    if bias:
        gradients[2] = ops.cast(gradients[2], bias[0].dtype)
    return losses, cross_entropies, gradients


def _counts(r: CrossEntropy, labels: Array) -> Array:
    if r.ignore is None:
        return ops.ones_like(labels, dtype="bool")
    return ops.not_equal(labels, r.ignore)


def by_rows(r: CrossEntropy, arrays: Sequence[Array], labels: Array, wanted: bool) -> Rows:
    """In `keras.ops`."""
    features, kernel, *bias = arrays
    rows = features.shape[0]
    counts = _counts(r, labels)
    chunks = [
        _chunk(r, features[at], kernel, bias, labels[at], counts[at], wanted) for at in slices(rows)
    ]
    losses, cross_entropies = (
        ops.concatenate([chunk[place] for chunk in chunks]) for place in (0, 1)
    )
    if not wanted:
        return losses, cross_entropies, None
    gradients = [ops.concatenate([chunk[2] for chunk in chunks])]
    for place, array in enumerate((kernel, *bias), start=3):
        gradients.append(ops.cast(sum(chunk[place] for chunk in chunks), array.dtype))
    return losses, cross_entropies, gradients


def slices(rows: int | None) -> list[slice]:
    """Some rows after the other, so that few logits are there at a time."""
    if rows is None:  # of a graph that is for any number
        return [slice(None)]
    step = max(_ROWS, -(-rows // _MOST_CHUNKS))
    return [slice(n, min(n + step, rows)) for n in range(0, max(rows, 1), step)]


def _chunk(
    r: CrossEntropy,
    features: Array,
    kernel: Array,
    bias: Sequence[Array],
    labels: Array,
    counts: Array,
    wanted: bool,
) -> tuple[Array, ...]:
    """Losses, cross entropies; gradients of features, kernel and bias."""
    classes, eps = int(kernel.shape[0]), r.label_smoothing
    work = "float64" if glue.dtype_name(features) == "float64" else "float32"
    # What stands in an ignored row must not matter, not even a NaN.
    features = ops.where(counts[:, None], features, ops.zeros_like(features))
    z = ops.cast(features @ ops.transpose(kernel), work)
    for b in bias:
        z = z + ops.cast(b, work)
    log_p = ops.log_softmax(z, axis=-1)
    there = ops.logical_and(labels >= 0, labels < classes)
    label = ops.where(there, labels, ops.zeros_like(labels))
    of_label = ops.take_along_axis(log_p, label[:, None], axis=-1)[:, 0]

    def where_it_counts(values: Array) -> Array:
        # A label that no class has: where nobody could look before, the loss shows it.
        values = ops.where(there, values, ops.full_like(values, float("nan")))
        return ops.where(counts, values, ops.zeros_like(values))

    cross_entropies = where_it_counts(-of_label)
    losses = cross_entropies
    if eps:
        losses = where_it_counts((eps - 1) * of_label - (eps / classes) * ops.sum(log_p, axis=-1))
    if not wanted:
        return losses, cross_entropies, None, None, None
    d = ops.exp(log_p)
    if eps:
        d = d - eps / classes
    # Not less a one-hot array, which would be as large as d once more.
    at = ops.stack([ops.arange(ops.shape(label)[0], dtype="int32"), label], axis=-1)
    d = ops.scatter_update(d, at, ops.exp(of_label) - (eps / classes + 1 - eps))
    d_z = ops.cast(d, features.dtype)
    d_features = d_z @ kernel
    return (
        losses,
        cross_entropies,
        ops.where(counts[:, None], d_features, ops.zeros_like(d_features)),
        ops.cast(ops.transpose(d_z) @ features, work),
        (ops.cast(counts, work)[None] @ d)[0],
    )
