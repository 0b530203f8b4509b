"""Weights of Keras's and conveyor's GRUs."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from .._errors import lesson
from ..layers import GRU
from ..layers._known_cells import has_gru
from ._gru_weights import GRUCellWeights, GRUWeights
from ._keras import _is_recurrent, _merged_otherwise

_ACTIVATIONS = {
    "activation": keras.activations.tanh,
    "recurrent_activation": keras.activations.sigmoid,
}


def grus_in(source: Any, name: str | None) -> list[Any]:
    """The GRUs among layers, or of a model; none where LSTMs are meant.

    Args:
        source: a layer, a list of layers, or a model.
        name: of a layer of the model. Without one its LSTMs are meant, where it has some.
    """
    if not isinstance(source, keras.Model):
        layers = source if isinstance(source, (list, tuple)) else [source]
        return list(layers) if all(map(_is_gru, layers)) else []
    found = [layer for layer in source.layers if _is_gru(layer) and name in (None, layer.name)]
    return [] if name is None and any(map(_is_recurrent, source.layers)) else found


def _is_gru(layer: Any) -> bool:
    return isinstance(layer, keras.layers.RNN | keras.layers.Bidirectional) and has_gru(layer)


def weights_of_grus(layers: list[Any]) -> GRUWeights:
    """The weights of layers on top of each other."""
    return GRUWeights(tuple(cells for layer in layers for cells in _layer(layer)))


def _layer(layer: Any) -> list[tuple[GRUCellWeights, ...]]:
    if isinstance(layer, keras.layers.Bidirectional):
        if layer.merge_mode != "concat":
            raise _merged_otherwise(layer, "layer.forward_layer and layer.backward_layer")
        return [(_cell(layer.forward_layer.cell, layer), _cell(layer.backward_layer.cell, layer))]
    if layer.go_backwards:
        raise lesson(
            f'conveyor.convert: GRU "{layer.name}"',
            "a GRU that reads forward",
            "go_backwards=True",
            "Turn it into a forward one: its weights are the same, its input the other way round.",
        )
    if getattr(layer, "initial_state", None) is not None:
        raise lesson(
            f'conveyor.convert: GRU "{layer.name}"',
            "weights that other frameworks have a place for",
            "a learned initial state",
            "It is layer.cell.initial_hidden_state; give it at the call.",
        )
    cells = getattr(layer.cell, "cells", None) or [layer.cell]  # of a stack
    return [(_cell(cell, layer),) for cell in cells]


def _cell(cell: Any, layer: Any) -> GRUCellWeights:
    where = f'conveyor.convert: {type(layer).__name__} "{layer.name}"'
    if not isinstance(cell, keras.layers.GRUCell):
        raise lesson(
            where, "GRU cells alone", type(cell).__name__, "Take a layer for each kind of cell."
        )
    if not cell.built:
        raise lesson(
            where,
            "a layer with its weights",
            "one that is not built",
            "Write layer.build((None, None, features)), or call it on a batch first.",
        )
    for name, usual in _ACTIVATIONS.items():
        activation = getattr(cell, name)
        if activation is not usual:
            raise lesson(
                where,
                "tanh and sigmoid, the activations that all frameworks have",
                f"{name}={getattr(activation, '__name__', activation)}",
                "layer.get_weights() gives the weights without them.",
            )
    to_numpy = keras.ops.convert_to_numpy
    return GRUCellWeights(
        to_numpy(cell.kernel),
        to_numpy(cell.recurrent_kernel),
        None if cell.bias is None else to_numpy(cell.bias),
        bool(cell.reset_after),
    )


def keras_gru_model(weights: GRUWeights) -> Any:
    """A Sequential of conveyor's GRUs that returns the hidden states of all steps."""
    dtype = weights.dtype.name
    model = keras.Sequential([keras.Input((None, weights.features), dtype=dtype)], name="gru")
    for n, layer in enumerate(weights.layers):
        gru = GRU(
            layer[0].units,
            return_sequences=True,
            use_bias=layer[0].bias is not None,
            reset_after=layer[0].reset_after,
            name=f"gru_{n}",
            dtype=dtype,
        )
        both = len(layer) == 2
        model.add(keras.layers.Bidirectional(gru, name=f"both_{n}", dtype=dtype) if both else gru)
        arrays: list[np.ndarray] = [a for cell in layer for a in cell.arrays().values()]
        model.layers[-1].set_weights(arrays)
    return model
