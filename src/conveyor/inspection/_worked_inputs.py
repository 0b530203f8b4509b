"""What `worked_example` is given: one built layer, arrays that fit it, a place in them."""

from __future__ import annotations

import operator
from typing import Any, TypeAlias

import keras
import numpy as np
import numpy.typing as npt

from .._engines import glue
from .._errors import lesson
from ..layers import GRU, LSTM, _checks
from ..layers._find import Layer, find_lstms_and_grus, is_lstm_or_gru, parts_of
from ..layers._keras_layers import check_is_plain
from ..ops import _checks as ops_checks
from ._describe import describe
from ._flow import LayerFlow
from ._kinds import kind_of

Numbers: TypeAlias = npt.NDArray[np.float64]

_keras_ops: Any = keras.ops  # Keras ships no types


def states_at_start(
    layer: Layer, initial_state: Any, sample: int, batch: int, where: str
) -> list[Numbers]:
    """h and c (U,) before the first step that is read; of a GRU h alone."""
    sizes, names = layer.cell.state_size, kind_of(layer.cell).states_of_a_step
    sizes = (sizes,) if isinstance(sizes, int) else sizes
    if initial_state is not None and len(sizes) == 1 and hasattr(initial_state, "shape"):
        initial_state = [initial_state]  # it has one, which needs no list
    if initial_state is None and layer.stateful and layer.states is not None:
        # Empty until the first call.
        initial_state = [s for s in layer.states if s.shape[0] != 0] or None
    if initial_state is None and getattr(layer, "initial_state", None) is not None:
        initial_state = layer.get_initial_state(batch)
    if initial_state is None:
        return [np.zeros(int(size)) for size in sizes]
    _checks.check_initial_state(initial_state, batch, sizes, where, names)
    return [array(state, where)[sample].astype(np.float64) for state in initial_state]


def flow_of(layer: Layer) -> LayerFlow:
    """The account of a layer that is one built LSTM or GRU."""
    if is_lstm_or_gru(layer) and layer.built:
        if not isinstance(layer, LSTM | GRU):
            check_is_plain(layer)
        return describe(layer)[0]
    if is_lstm_or_gru(layer):
        got = f'"{layer.name}", which has seen no input so far: it is not built'
        write = "Write layer.build(x.shape), or call it once: layer(x)."
    elif parts_of(layer):
        got = f'the LSTM "{layer.name}", which is {len(parts_of(layer))}'
        write = "Write worked_example(layer.parts[0][0], x): the layer first, then the direction."
    elif isinstance(layer, keras.layers.Bidirectional):
        got = f'the Bidirectional "{layer.name}", which is two'
        write = "Write worked_example(layer.forward_layer, x), or layer.backward_layer."
    elif isinstance(layer, keras.Model):
        got = f'the {type(layer).__name__} "{layer.name}"'
        write = f"Write worked_example({_way_to_first(layer)}, x) with x the input of that layer."
    else:
        got = type(layer).__name__
        write = "Write layer = conveyor.LSTM(4); layer(x); worked_example(layer, x)."
    raise lesson("worked_example", "one LSTM or GRU layer with its weights", got, write)


def _way_to_first(model: Layer) -> str:
    """The expression that gives the first LSTM or GRU of a model."""
    way, inner = "model", model
    found = find_lstms_and_grus(model)
    for name in found[0].path.split("/") if found else ["..."]:
        if isinstance(inner, keras.layers.Bidirectional):
            return f"{way}.forward_layer"
        if not isinstance(inner, keras.Model):
            break
        way += f'.get_layer("{name}")'
        inner = next((child for child in inner.layers if child.name == name), None)
    return way


def array(value: Any, where: str) -> npt.NDArray[Any]:
    _checks.check_is_array(value, where)
    ops_checks.check_framework({"x": value}, where)
    return value if isinstance(value, np.ndarray) else _keras_ops.convert_to_numpy(value)


def apply(function: Any, z: Numbers) -> Numbers:
    """An activation of Keras, or of the user's, in float64."""
    with glue.active().float64():
        value = glue.active().exact(function)(_keras_ops.convert_to_tensor(z, dtype="float64"))
        return np.asarray(_keras_ops.convert_to_numpy(value), np.float64)


def place(index: Any, name: str, length: int, where: str) -> int:
    """`index` counted from 0, where a negative one counts from the end."""
    try:
        place = operator.index(index)
    except TypeError:
        place = length
    if not -length <= place < length:
        raise lesson(
            where,
            f"{name} to be a whole number from 0 to {length - 1}, or from -{length} to -1",
            f"{name}={index!r}",
            f"Write {name}=0 for the first, {name}=-1 for the last.",
        )
    return place % length
