"""The gradients of the native ops on TensorFlow, first and second.

A GradientTape says which gradients nobody asks for, and those are not computed. The gradient
of the gradient is that of the portable engine: the core has no second derivatives.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import tensorflow as tf

from .. import _cells
from .._cells import Cell
from .._request import Array
from . import _tensorflow_native as native

Gradients = list[Array | None]

_SHARED = ("problem", "options", "given")


def _of_forward(cell: Cell, op: Any, *d_results: Array) -> Gradients:
    options = _read(op, _SHARED)
    names = _named(op.get_attr("states"), cell.states)
    given = _named(options["given"], cell.inputs)
    arrays = dict(zip(given, op.inputs, strict=True))
    results = list(op.outputs)
    states, kept = dict(zip(names, results, strict=False)), results[len(names) :]
    if not kept:  # no tape was watching when the forward pass was traced
        _, kept = native.forward(cell, op.inputs, (), keep=True, **options)
    hidden_states = states.get("hidden_states", kept[-1])
    arriving = {name: d for name, d in zip(names, d_results, strict=False) if d is not None}
    skipped = {given[n] for n in getattr(op, "skip_input_indices", None) or ()}
    wanted = [name for name in cell.differentiable if name in arrays and name not in skipped]
    gradients = dict(
        zip(
            wanted,
            native.wrapper(cell, "backward")(
                [*arrays.values(), hidden_states, kept[0], *arriving.values()],
                result_types=[arrays[name].dtype for name in wanted],
                states=native.bits(arriving, cell.states),
                wanted=native.bits(wanted, cell.inputs),
                **options,
            ),
            strict=True,
        )
    )
    for name, gradient in gradients.items():
        gradient.set_shape(arrays[name].shape)
    return [gradients.get(name) for name in given]


def _read(op: Any, names: Sequence[str]) -> dict[str, Any]:
    attributes = {name: op.get_attr(name) for name in names}
    text = attributes["options"]
    return {**attributes, "options": text.decode() if isinstance(text, bytes) else text}


def _of_backward(cell: Cell, op: Any, *d_gradients: Array) -> Gradients:
    # A function of the arrays and of the gradients that arrived; what the forward pass kept
    # follows from the arrays.
    given = _named(op.get_attr("given"), cell.inputs)
    arrays = dict(zip(given, op.inputs, strict=False))
    options = tuple(_read(op, ("options", "given", "states", "wanted")).items())
    arriving = list(op.inputs[len(given) + 2 :])
    of_arrays, of_arriving = _compiled_second(cell, arrays, arriving, list(d_gradients), options)
    return [*(of_arrays.get(name) for name in given), None, None, *of_arriving]


def _second(
    cell: Cell,
    arrays: dict[str, Array],
    arriving: list[Array],
    d_gradients: list[Array],
    options: tuple[tuple[str, Any], ...],
) -> tuple[dict[str, Array], list[Array]]:
    # Not with tapes, which are stopped in some of the places that this is called from.
    told = dict(options)
    wanted = [arrays[name] for name in _named(told["wanted"], cell.inputs)]
    floats = {name: array for name, array in arrays.items() if name in cell.differentiable}
    zero = tf.UnconnectedGradients.ZERO
    states = cell.portable(arrays, told["options"], _named(told["states"], cell.states))
    first = tf.gradients(states, wanted, arriving, unconnected_gradients=zero)
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
