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

from .. import _cells
from .._cells import Cell
from .._request import Array
from . import _tensorflow_native as native
from ._tensorflow_native import Part

Gradients = list[Array | None]


def _of_forward(cell: Cell, op: Any, *d_results: Array) -> Gradients:
    """One op for all requests that a gradient arrives at."""
    outputs, d_outputs = iter(op.outputs), iter(d_results)
    keeps = bool(op.get_attr("keep")[0])
    every = []
    for part, wanted in _wanted(cell, op):
        count = native.results_of(part, keep=keeps)
        results, d_states = list(islice(outputs, count)), list(islice(d_outputs, count))
        named = zip(part.names, d_states, strict=False)
        arriving = {name: d for name, d in named if d is not None and not _is_zero(d)}
        every.append((part, wanted, results, arriving))
    reached = [each for each in every if each[1] and each[3]]
    if not keeps:  # no tape was watching when the forward pass was traced
        again = native.forward(cell, [replace(part, names=()) for part, *_ in reached], keep=True)
        kepts = [kept for _, kept in again]
    else:
        kepts = [results[len(part.names) :] for part, _, results, _ in reached]
    inputs, result_types = [], []
    for (part, wanted, results, arriving), kept in zip(reached, kepts, strict=True):
        states = dict(zip(part.names, results, strict=False))
        hidden_states = states.get("hidden_states", kept[-1])
        inputs += [*part.arrays, hidden_states, kept[0], *arriving.values()]
        result_types += [part.named[name].dtype for name in wanted]
    asked = [replace(part, names=tuple(arriving)) for part, _, _, arriving in reached]
    gradients = iter(
        native.wrapper(cell, "backward")(
            inputs,
            result_types=result_types,
            wanted=[native.bits(wanted, cell.inputs) for _, wanted, _, _ in reached],
            **native.attributes(cell, asked),
        )
        if reached
        else ()
    )
    found: Gradients = []
    for part, wanted, _, arriving in every:
        its = dict(zip(wanted if arriving else (), gradients, strict=False))
        for name, gradient in its.items():
            gradient.set_shape(part.named[name].shape)
        found += [its.get(name) for name in part.given]
    return found


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
    given, states, problem = (op.get_attr(name) for name in ("given", "states", "problem"))
    size, inputs = len(problem) // len(given), iter(op.inputs)
    for n, text in enumerate(op.get_attr("options")):
        names = tuple(_named(given[n], cell.inputs))
        part = Part(
            given=names,
            arrays=list(islice(inputs, len(names))),
            problem=problem[n * size : (n + 1) * size],
            options=text.decode() if isinstance(text, bytes) else text,
            names=tuple(_named(states[n], cell.states)),
        )
        yield part, list(islice(inputs, behind(part)))


def _of_backward(cell: Cell, op: Any, *d_gradients: Array) -> Gradients:
    # A function of the arrays and of the gradients that arrived; what the forward pass kept
    # follows from the arrays.
    found: Gradients = []
    d_flat = iter(d_gradients)
    parts = _parts(cell, op, lambda part: 2 + len(part.names))
    for (part, (_, _, *arriving)), bits in zip(parts, op.get_attr("wanted"), strict=True):
        wanted = tuple(_named(bits, cell.inputs))
        moved = list(islice(d_flat, len(wanted)))
        told = (part.options, part.names, wanted)
        of_arrays, of_arriving = _compiled_second(cell, part.named, arriving, moved, told)
        found += [*(of_arrays.get(name) for name in part.given), None, None, *of_arriving]
    return found


def _second(
    cell: Cell,
    arrays: dict[str, Array],
    arriving: list[Array],
    d_gradients: list[Array],
    told: tuple[str, tuple[str, ...], tuple[str, ...]],
) -> tuple[dict[str, Array], list[Array]]:
    # Not with tapes, which are stopped in some of the places that this is called from.
    options, names, wanted = told
    floats = {name: array for name, array in arrays.items() if name in cell.differentiable}
    zero = tf.UnconnectedGradients.ZERO
    states = cell.portable(arrays, options, names)
    first = tf.gradients(
        states, [arrays[name] for name in wanted], arriving, unconnected_gradients=zero
    )
    second = tf.gradients(
        first, [*floats.values(), *arriving], d_gradients, unconnected_gradients=zero
    )
    return dict(zip(floats, second, strict=False)), second[len(floats) :]


def _named(bits: int, order: Sequence[Any]) -> list[Any]:
    return [name for n, name in enumerate(order) if bits >> n & 1]


for _name, _cell in (("Lstm", _cells.LSTM), ("Gru", _cells.GRU)):
    tf.RegisterGradient(f"Conveyor>{_name}Forward")(partial(_of_forward, _cell))
    tf.RegisterGradient(f"Conveyor>{_name}Backward")(partial(_of_backward, _cell))
_compiled_second = tf.function(_second, autograph=False)
