"""How a layer of several LSTMs is computed, and the shapes of what it returns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
from keras import ops as K

from .._engines import Array
from .._vocabulary import StateName, has_time_axis
from ..ops import _wavefront
from ..ops._lstm import lstms_and_decisions
from . import _stack_states as given_states


def run(
    layer: Any, sequences: Array, initial_state: Any, mask: Any, training: bool, resets: Any
) -> Any:
    """What the whole returns; a mask goes through all layers."""
    cells = layer.cells.flat()
    pairs: Iterator[Any] = iter(
        [None] * len(cells)
        if initial_state is None
        else given_states.pairs_of(initial_state, sequences.shape[0], cells, layer.where)
    )
    x, states = sequences, []
    one_call = _is_one_call(layer, sequences, training)
    every = _run_all(layer, x, pairs, mask, training, resets) if one_call else []
    for n, row in enumerate(layer.parts):
        top = n == len(layer.parts) - 1
        returned = []
        answers = every[n] if every else _run_row(row, x, pairs, mask, training, resets)
        for part, values in zip(row, answers, strict=True):
            names = part.output_names()
            if layer.return_state and layer.outputs is None:
                states += values[-2:]
            if part.go_backwards and not (top and layer.go_backwards):
                returned.append([flipped(a, b) for a, b in zip(names, values, strict=True)])
            else:
                returned.append(values)
        if not top:
            x = merged(between(layer.merge_mode), [values[0] for values in returned])[0]
            x = _dropped(layer, x) if training and layer.inter_layer_dropout else x
    count = len(layer.outputs) if layer.outputs is not None else 1
    outputs = [
        value
        for each in list(zip(*returned, strict=True))[:count]
        for value in merged(layer.merge_mode, list(each))
    ]
    outputs += states
    return outputs[0] if len(outputs) == 1 else tuple(outputs)


def _run_row(
    row: Any, x: Array, pairs: Iterator[Any], mask: Any, training: bool, resets: Any
) -> list[list[Array]]:
    """What the LSTMs of one layer return, in a list each; two directions run side by side."""
    calls = [part.asked(x, next(pairs), mask, training, resets) for part in row]
    returned = [
        part.answered(call, *answer)
        for part, call, answer in zip(row, calls, lstms_and_decisions(calls), strict=True)
    ]
    return [list(each) if isinstance(each, tuple) else [each] for each in returned]


def _is_one_call(layer: Any, sequences: Array, training: bool) -> bool:
    """Whether each layer reads the hidden states of the one below just as they are."""
    turned = layer.bidirectional or layer.go_backwards
    if turned or (training and layer.inter_layer_dropout):
        return False
    sizes = [cell.state_size for cell in layer.cells.flat()]
    return _wavefront.suits(sequences.shape[-1], sizes)


def _run_all(
    layer: Any, x: Array, pairs: Iterator[Any], mask: Any, training: bool, resets: Any
) -> list[list[list[Array]]]:
    """What `_run_row` returns of each layer, from one call for all."""
    parts, calls = layer.parts.flat(), []
    for part in parts:
        calls.append(part.asked(x, next(pairs), mask, training, resets))
        x = _wavefront.promised(x, part.cell.state_size[0])
    returned: list[list[list[Array]]] = []
    answers = lstms_and_decisions(calls, stack=True)
    for part, call, answer in zip(parts, calls, answers, strict=True):
        if returned:
            call["x"] = returned[-1][0][0]
        values = part.answered(call, *answer)
        returned.append([list(values) if isinstance(values, tuple) else [values]])
    return returned


def between(merge_mode: str | None) -> str:
    """How the layer above reads two directions: None is for what the whole returns."""
    return merge_mode or "concat"


def merged(merge_mode: str | None, directions: list[Array]) -> list[Array]:
    """One array of the two directions, or both."""
    if len(directions) == 1 or merge_mode is None:
        return directions
    if merge_mode == "concat":
        return [K.concatenate(directions, axis=-1)]
    forward, backward = directions
    if merge_mode == "mul":
        return [forward * backward]
    return [forward + backward if merge_mode == "sum" else (forward + backward) / 2]


def _dropped(layer: Any, x: Array) -> Array:
    rate = layer.inter_layer_dropout
    if rate == 1:  # where one over what is kept is no number
        return K.zeros_like(x)
    return keras.random.dropout(x, rate, seed=layer.seed_generator)


def flipped(name: str, value: Array) -> Array:
    """The other way round, where there is a time axis."""
    return K.flip(value, axis=1) if has_time_axis(name) else value


# Shapes -------------------------------------------------------------------------------------


def shapes(layer: Any, sequences_shape: Any) -> list[tuple[Any, ...]]:
    """The shapes of what each part reads, layer by layer; at the end that of the whole's output."""
    read = [tuple(sequences_shape)]
    for row in layer.parts:
        every = [_shapes_of(part, read[-1]) for part in row]
        width = merged_width(between(layer.merge_mode), [s["hidden_states"][-1] for s in every])
        read.append((*read[-1][:2], width))
    return read


def merged_width(merge_mode: str | None, widths: list[int]) -> int:
    """The last axis of two directions joined."""
    return sum(widths) if merge_mode == "concat" else widths[0]


def _shapes_of(part: Any, sequences_shape: Any) -> dict[StateName, tuple[Any, ...]]:
    """Of what a part returns, and of its hidden states."""
    names = part.output_names()
    found = part.compute_output_shape(sequences_shape)
    named = dict(zip(names, [found] if len(names) == 1 else found, strict=True))
    width = part.cell.state_size[0]
    return {"hidden_states": (*sequences_shape[:2], width), **named}


def output_shape(layer: Any, sequences_shape: Any) -> Any:
    """What `compute_output_shape` gives."""
    read = shapes(layer, sequences_shape)
    batch = sequences_shape[0]
    every = [_shapes_of(part, read[-2]) for part in layer.parts[-1]]
    names = layer.parts[-1][0].output_names()
    first = names if layer.outputs is not None else names[:1]
    found = []
    for name in first:
        each = [shape[name] for shape in every]
        if layer.merge_mode is None:
            found += each
        else:
            width = merged_width(layer.merge_mode, [shape[-1] for shape in each])
            found.append((*each[0][:-1], width))
    if layer.return_state and layer.outputs is None:
        found += [(batch, size) for cell in layer.cells.flat() for size in cell.state_size]
    return found[0] if len(found) == 1 else tuple(found)


def output_names(layer: Any) -> tuple[StateName, ...]:
    """The names of what the whole returns, one for each tensor."""
    names = layer.parts[-1][0].output_names()
    first = names if layer.outputs is not None else names[:1]
    twice = 2 if layer.bidirectional and layer.merge_mode is None else 1
    found = tuple(name for name in first for _ in range(twice))
    if layer.return_state and layer.outputs is None:
        found += names[1:] * len(layer.parts.flat())
    return found


def build(layer: Any, sequences_shape: Any) -> None:
    """Make the weights of every part."""
    for row, shape in zip(layer.parts, shapes(layer, sequences_shape), strict=False):
        for part in row:
            if not part.built:
                part.build(shape)


def explain_engine(layer: Any) -> str:
    """Which engine ran each part."""
    told = {part.name: part.explain_engine() for part in layer.parts.flat()}
    if len(set(told.values())) == 1:
        return str(next(iter(told.values())))
    return "\n".join(f"{name}: {engine}" for name, engine in told.items())
