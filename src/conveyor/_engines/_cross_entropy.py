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

from . import glue
from ._request import Array

# Rows of logits that are there at a time, and the most such chunks: a graph has each by itself.
_ROWS, _MOST_CHUNKS = 256, 64

# The sum of the losses; cross entropies (N,) and the number of rows that count; the gradients of
# the sum with respect to the arrays, where they are wanted.
Losses = tuple[Array, tuple[Array, Array], list[Array] | None]


@dataclass(frozen=True)
class CrossEntropy:
    """What `ops.linear_cross_entropy` is told beside its arrays: hashable, and what runs it."""

    label_smoothing: float
    ignore: int | None
    native: bool

    def __call__(self, arrays: Sequence[Array], labels: Array, wanted: bool) -> Losses:
        """`arrays` are features, kernel and, where there is one, bias."""
        if self.native:
            losses: Losses = glue.active().native_cross_entropy(self, arrays, labels, wanted)
            return losses
        return _portable(self, arrays, labels, wanted)


def run(request: CrossEntropy, arrays: Sequence[Array], labels: Array) -> tuple[Array, ...]:
    """The loss, which has gradients; cross entropies and the number of rows, which have none."""
    loss, rest = glue.active().sum_with_gradients(request, tuple(arrays), labels)
    return (loss, *rest)


def _portable(r: CrossEntropy, arrays: Sequence[Array], labels: Array, wanted: bool) -> Losses:
    features, kernel, *bias = arrays
    rows = features.shape[0]
    work = "float64" if glue.dtype_name(features) == "float64" else "float32"
    if r.ignore is None:
        counts = ops.ones_like(labels, dtype="bool")
    else:
        counts = ops.not_equal(labels, r.ignore)
    chunks = [
        _chunk(r, features[at], kernel, bias, labels[at], counts[at], wanted)
        for at in _slices(rows)
    ]
    losses, cross_entropies, d_features = (
        ops.concatenate(parts) if parts[0] is not None else None
        for parts in list(zip(*chunks, strict=True))[:3]
    )
    found = ops.sum(losses), (cross_entropies, ops.sum(ops.cast(counts, work)))
    if not wanted:
        return *found, None
    gradients = [d_features]
    for place, array in enumerate((kernel, *bias), start=3):
        gradients.append(ops.cast(sum(chunk[place] for chunk in chunks), array.dtype))
    return *found, gradients


def _slices(rows: int | None) -> list[slice]:
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
) -> tuple[Array | None, ...]:
    """Losses, cross entropies; gradients of features, kernel and bias."""
    classes, eps = int(kernel.shape[0]), r.label_smoothing
    work = "float64" if glue.dtype_name(features) == "float64" else "float32"
    # What stands in an ignored row must not matter, not even a NaN.
    features = ops.where(counts[:, None], features, ops.zeros_like(features))
    z = ops.cast(features @ ops.transpose(kernel), work)
    for b in bias:
        z = z + ops.cast(b, work)
    highest = ops.max(z, axis=-1, keepdims=True, initial=float("-inf"))
    e = ops.exp(z - highest)
    total = ops.sum(e, axis=-1, keepdims=True)
    there = ops.logical_and(labels >= 0, labels < classes)
    label = ops.where(there, labels, ops.zeros_like(labels))
    z_label = ops.take_along_axis(z, label[:, None], axis=-1)[:, 0]
    log_total = (highest + ops.log(total))[:, 0]

    def where_it_counts(values: Array) -> Array:
        # A label that no class has: where nobody could look before, the loss shows it.
        values = ops.where(there, values, ops.full_like(values, float("nan")))
        return ops.where(counts, values, ops.zeros_like(values))

    cross_entropies = where_it_counts(log_total - z_label)
    losses = cross_entropies
    if eps:
        smoothed = log_total - (1 - eps) * z_label - (eps / classes) * ops.sum(z, axis=-1)
        losses = where_it_counts(smoothed)
    if not wanted:
        return losses, cross_entropies, None, None, None
    weight = ops.cast(counts, work)[:, None]
    d = e * (weight / total)
    if eps:
        d = d - (eps / classes) * weight
    d = d - ops.one_hot(label, classes, dtype=work) * ((1 - eps) * weight)
    d_z = ops.cast(d, features.dtype)
    return (
        losses,
        cross_entropies,
        d_z @ kernel,
        ops.cast(ops.transpose(d_z) @ features, work),
        ops.sum(d, axis=0),
    )
