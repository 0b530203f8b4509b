"""The gradients of the native ops on TensorFlow, first and second.

A GradientTape says which gradients nobody asks for, and those are not computed. The gradient
of the gradient is that of the portable engine: the core has no second derivatives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import tensorflow as tf

from .. import _cells, _descent
from .._cells import Cell
from .._request import Array
from . import _tensorflow_native as native
from ._tensorflow_native import Part

Gradients = list[Array | None]


def _of_forward(cell: Cell, op: Any, *d_results: Array) -> Gradients:
    """One op for all requests that a gradient arrives at, where they need not be added between."""
    outputs, d_outputs = iter(op.outputs), iter(d_results)
    keeps = bool(op.get_attr("keep")[0])
    parts, wanted, arriving, kept = list[Part](), [], [], []
    for part, asked in _wanted(cell, op):
        count = native.results_of(part, keep=keeps)
        results, d_states = list(islice(outputs, count)), list(islice(d_outputs, count))
        named = zip(part.names, d_states, strict=False)
        parts.append(part)
        wanted.append(asked)
        arriving.append({name: d for name, d in named if d is not None and not _is_zero(d)})
        kept.append(_kept(part, results))
    if not keeps:  # no tape was watching when the forward pass was traced
        blank = [replace(part, names=()) for part in parts]
        again = native.forward(cell, blank, keep=True)
        kept = [_kept(part, its) for part, (_, its) in zip(blank, again, strict=True)]
    stack = parts[-1].chained
    whole = [_with_x(part, below) for part, below in zip(parts, [None, *kept], strict=False)]

    def run(layers: Sequence[_descent.Layer]) -> list[dict[str, Array]]:
        told, inputs, result_types = list[Part](), [], []
        for layer in layers:
            part, arriving = whole[layer.number], layer.arriving
            told.append(replace(part, names=tuple(arriving), chained=stack and bool(told)))
            inputs += [*part.arrays, *kept[layer.number], *arriving.values()]
            result_types += [part.named[name].dtype for name in layer.wanted]
        gradients = native.wrapper(cell, "backward")(
            inputs,
            result_types=result_types,
            wanted=[native.bits(layer.wanted, cell.inputs) for layer in layers],
            **native.attributes(cell, told),
        )
        flat = iter(gradients)
        found = [{name: next(flat) for name in layer.wanted} for layer in layers]
        for part, its in zip(told, found, strict=True):
            for name, gradient in its.items():
                gradient.set_shape(part.named[name].shape)
        return found

    every = (_descent.descend if stack else _descent.beside)(arriving, wanted, run)
    return [its.get(name) for part, its in zip(parts, every, strict=True) for name in part.given]


def _kept(part: Part, results: Sequence[Array]) -> list[Array]:
    """Hidden states and reserve among the outputs of a forward op."""
    states, rest = dict(zip(part.names, results, strict=False)), results[len(part.names) :]
    return [states.get("hidden_states", results[-1]), *rest[:1]]


def _with_x(part: Part, below: Sequence[Array] | None) -> Part:
    """The same with the x that it read, where that was the hidden states of the layer below."""
    if not part.chained or below is None:
        return part
    return replace(part, given=("x", *part.given), arrays=[below[0], *part.arrays])


def _is_zero(gradient: Array) -> bool:
    """Whether a tape filled it in while it traced, as none arrived at this output of an op."""
    if tf.executing_eagerly():
        return False
    if gradient.op.type == "Const":
        return not np.any(tf.get_static_value(gradient))
    return bool(gradient.op.type == "ZerosLike")


def _wanted(cell: Cell, op: Any) -> Iterator[tuple[Part, list[str]]]:
    """Each request of a forward op, and the arrays whose gradients somebody asks for."""
    skipped = set(getattr(op, "skip_input_indices", None) or ())
    place = 0
    for part, _ in _parts(cell, op, lambda part: 0):
        asked = {name for n, name in enumerate(part.given, place) if n not in skipped}
        place += len(part.given)
        yield part, [name for name in cell.differentiable if name in asked]


def _parts(
    cell: Cell, op: Any, behind: Callable[[Part], int]
) -> Iterator[tuple[Part, list[Array]]]:
    """What an op was told of each request, and the inputs `behind` the arrays."""
    given, states, problem, chained = map(op.get_attr, ("given", "states", "problem", "chained"))
    size, inputs = len(problem) // len(given), iter(op.inputs)
    for n, text in enumerate(op.get_attr("options")):
        names = tuple(_named(given[n], cell.inputs))
        part = Part(
            given=names,
            arrays=list(islice(inputs, len(names))),
            problem=problem[n * size : (n + 1) * size],
            options=text.decode() if isinstance(text, bytes) else text,
            names=tuple(_named(states[n], cell.states)),
            chained=bool(chained[n]),
        )
        yield part, list(islice(inputs, behind(part)))


def _of_backward(cell: Cell, op: Any, *d_gradients: Array) -> Gradients:
    # A function of the arrays and of the gradients that arrived; what the forward pass kept
    # follows from the arrays.
    d_flat = iter(d_gradients)
    arrays, arriving, moved, told = [], [], [], []
    parts = _parts(cell, op, lambda part: 2 + len(part.names))
    for (part, (_, _, *its)), bits in zip(parts, op.get_attr("wanted"), strict=True):
        wanted = tuple(_named(bits, cell.inputs))
        arrays.append(part.named)
        arriving.append(its)
        moved.append(list(islice(d_flat, len(wanted))))
        told.append((part.options, part.names, wanted, part.chained))
    found: Gradients = []
    second = _compiled_second(cell, arrays, arriving, moved, tuple(told))
    for named, (of_arrays, of_arriving) in zip(arrays, second, strict=True):
        found += [*(of_arrays.get(name) for name in named), None, None, *of_arriving]
    return found


def _second(
    cell: Cell,
    arrays: list[dict[str, Array]],
    arriving: list[list[Array]],
    d_gradients: list[list[Array]],
    told: tuple[tuple[str, tuple[str, ...], tuple[str, ...], bool], ...],
) -> list[tuple[dict[str, Array], list[Array]]]:
    # Not with tapes, which are stopped in some of the places that this is called from.
    zero = tf.UnconnectedGradients.ZERO
    first: list[Array] = []
    d_x: list[Array] = []  # what a chained request reads of the one before
    for its, d_states, (options, names, wanted, chained) in zip(
        arrays, arriving, told, strict=True
    ):
        read = ("hidden_states",) if chained else ()
        states = cell.portable(its, options, (*read, *names))
        d = [*(d_x if chained else ()), *d_states]
        gradients = tf.gradients(
            states, [its[name] for name in wanted], d, unconnected_gradients=zero
        )
        first += gradients
        d_x = gradients[:1]
    floats = [{n: a for n, a in its.items() if n in cell.differentiable} for its in arrays]
    at = tf.nest.flatten([[list(f.values()), d] for f, d in zip(floats, arriving, strict=True)])
    flat = iter(tf.gradients(first, at, tf.nest.flatten(d_gradients), unconnected_gradients=zero))
    return [
        ({name: next(flat) for name in its}, [next(flat) for _ in d_states])
        for its, d_states in zip(floats, arriving, strict=True)
    ]


def _named(bits: int, order: Sequence[Any]) -> list[Any]:
    return [name for n, name in enumerate(order) if bits >> n & 1]


for _name, _cell in (("Lstm", _cells.LSTM), ("Gru", _cells.GRU)):
    tf.RegisterGradient(f"Conveyor>{_name}Forward")(partial(_of_forward, _cell))
    tf.RegisterGradient(f"Conveyor>{_name}Backward")(partial(_of_backward, _cell))
_compiled_second = tf.function(_second, autograph=False)
