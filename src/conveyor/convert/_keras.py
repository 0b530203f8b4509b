"""Weights of Keras's and conveyor's layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np

from .._errors import ConveyorError, lesson
from .._keras_files import load_model
from ..layers import LSTM, Bidirectional
from ..layers._find import is_lstm, parts_of
from ..layers._variant import variant_of
from ._proof import Run
from ._weights import CellWeights, LSTMWeights, no_place

_ACTIVATIONS = {
    "activation": keras.activations.tanh,
    "recurrent_activation": keras.activations.sigmoid,
    "output_activation": keras.activations.tanh,
}
# The weights of a cell beyond Keras's, in its order, and what they are here.
_BEYOND = {
    "peephole_kernel": "peepholes",
    "output_kernel": "output_kernel",
    "output_bias": "output_bias",
    "projection_kernel": "projection",
    "gate_scale": "gate_scale",
    "cell_scale": "cell_scale",
    "cell_shift": "cell_shift",
}


def weights_of_keras(layers: list[Any]) -> LSTMWeights:
    """The weights of layers on top of each other."""
    return LSTMWeights(tuple(cells for layer in layers for cells in _layer(layer)))


def pick(source: Any, name: str | None) -> list[Any]:
    """A layer, a list of layers, or the recurrent layers of a model, or that of this name."""
    if isinstance(source, (list, tuple)):
        return list(source)
    if not isinstance(source, keras.Model):
        return [source]
    found = [layer for layer in source.layers if _is_recurrent(layer)]
    names = [layer.name for layer in found]
    if name is not None:
        found = [layer for layer in found if layer.name == name]
    if not found:
        raise lesson(
            "conveyor.convert",
            "a model with an LSTM among its layers"
            if name is None
            else f"the name of one of its LSTMs: {', '.join(names) or 'there are none'}",
            f'"{source.name}"' if name is None else f"name={name!r}",
            "Pass the layer itself: conveyor.convert takes LSTMs and Bidirectional ones.",
        )
    return found


def _is_recurrent(layer: Any) -> bool:
    inner = layer.forward_layer if isinstance(layer, keras.layers.Bidirectional) else layer
    known = is_lstm(inner) or _stacked(inner) or (parts_of(layer) and inner is layer)
    return isinstance(inner, keras.layers.RNN) and bool(known)


def _stacked(layer: Any) -> bool:
    cell = getattr(layer, "cell", None)
    return isinstance(cell, keras.layers.StackedRNNCells) and all(
        isinstance(inner, keras.layers.LSTMCell) for inner in cell.cells
    )


def _layer(layer: Any) -> list[tuple[CellWeights, ...]]:
    if not isinstance(layer, keras.layers.Layer) or not _is_recurrent(layer):
        raise lesson(
            "conveyor.convert",
            "an LSTM, a Bidirectional of LSTMs, or a list of them",
            type(layer).__name__,
            "Pass the recurrent layers alone.",
        )
    if isinstance(layer, keras.layers.Bidirectional):
        if layer.merge_mode != "concat":
            raise _merged_otherwise(layer, "layer.forward_layer and layer.backward_layer")
        forward, backward = layer.forward_layer, layer.backward_layer
        return [(_cell(forward.cell, layer), _cell(backward.cell, layer))]
    if layer.go_backwards:
        raise lesson(
            f'conveyor.convert: LSTM "{layer.name}"',
            "an LSTM that reads forward",
            "go_backwards=True",
            "Turn it into a forward one: its weights are the same, its input the other way round.",
        )
    if getattr(layer, "initial_state", None) is not None:
        raise no_place(
            "learned initial state",
            "an LSTM of another framework",
            "It is layer.initial_hidden_state and layer.initial_cell_state; give them at the call.",
        )
    if parts_of(layer):
        if layer.merge_mode != "concat":
            raise _merged_otherwise(layer, "the LSTMs of layer.parts[0], and of the others,")
        return [tuple(_cell(cell, layer) for cell in row) for row in layer.cells]
    cells = layer.cell.cells if _stacked(layer) else [layer.cell]
    return [(_cell(cell, layer),) for cell in cells]


def _merged_otherwise(layer: Any, parts: str) -> ConveyorError:
    return lesson(
        f'conveyor.convert: {type(layer).__name__} "{layer.name}"',
        'merge_mode="concat", which all frameworks have',
        f"merge_mode={layer.merge_mode!r}",
        f"Convert {parts} one by one.",
    )


def _cell(cell: Any, layer: Any) -> CellWeights:
    where = f'conveyor.convert: {type(layer).__name__} "{layer.name}"'
    if not cell.built:
        raise lesson(
            where,
            "a layer with its weights",
            "one that is not built",
            "Write layer.build((None, None, features)), or call it on a batch first.",
        )
    for name, usual in _ACTIVATIONS.items():
        activation = getattr(cell, name, None)
        if activation is not usual and activation is not None:
            raise lesson(
                where,
                "tanh and sigmoid, the activations that all frameworks have",
                f"{name}={getattr(activation, '__name__', activation)}",
                "layer.get_weights() gives the weights without them.",
            )
    to_numpy = keras.ops.convert_to_numpy
    bias, v = None if cell.bias is None else to_numpy(cell.bias), variant_of(cell)
    beyond = {ours: getattr(cell, theirs, None) for theirs, ours in _BEYOND.items()}
    arrays = {name: to_numpy(weight) for name, weight in beyond.items() if weight is not None}
    if v.peephole:
        arrays["peepholes"] = arrays["peepholes"].reshape(v.gates - 1, -1)
    return CellWeights(
        to_numpy(cell.kernel),
        to_numpy(cell.recurrent_kernel),
        bias,
        **arrays,
        coupled=v.coupled,
        clip=v.clip,
        cell_clip=v.cell_clip,
        zoneout=v.zoneout,
    )


def keras_model(weights: LSTMWeights, *, one_layer: bool = False) -> Any:
    """A Sequential of conveyor's LSTMs that returns the hidden states of all steps."""
    dtype = weights.dtype.name
    model = keras.Sequential([keras.Input((None, weights.features), dtype=dtype)], name="lstm")
    if one_layer:
        model.add(_one_layer(weights))
        biased = weights.has("bias")
        model.layers[-1].set_weights([a for cell in weights.cells for a in _in_order(cell, biased)])
        return model
    for n, layer in enumerate(weights.layers):
        biased = any(cell.bias is not None for cell in layer)
        lstm = LSTM(
            **_arguments(layer[0]),
            return_sequences=True,
            use_bias=biased,
            name=f"lstm_{n}",
            dtype=dtype,
        )
        both = len(layer) == 2
        model.add(Bidirectional(lstm, name=f"both_{n}", dtype=dtype) if both else lstm)
        model.layers[-1].set_weights([a for cell in layer for a in _in_order(cell, biased)])
    return model


def _one_layer(weights: LSTMWeights) -> LSTM:
    kinds = [(len(layer), _arguments(layer[0])) for layer in weights.layers]
    if any(kind != kinds[0] for kind in kinds):
        raise lesson(
            "conveyor.convert.to_keras",
            "layers of one size and kind for one_layer=True, as one conveyor.LSTM has them",
            str(weights),
            "Leave one_layer out: it becomes a layer each.",
        )
    directions, arguments = kinds[0]
    return LSTM(
        **arguments,
        num_layers=len(weights.layers),
        bidirectional=directions == 2,
        return_sequences=True,
        use_bias=weights.has("bias"),
        name="lstm",
        dtype=weights.dtype.name,
    )


def _arguments(cell: CellWeights) -> dict[str, Any]:
    """Those of a layer with these weights."""
    norms = [] if cell.cell_scale is None else ["cell"]
    if cell.gate_scale is not None:
        norms.insert(0, "joint" if cell.gate_scale.ndim == 2 else "gates")
    return {
        "units": cell.units,
        "peephole": cell.peepholes is not None,
        "output_transform": cell.output_kernel is not None,
        "projection": None if cell.projection is None else cell.output_size,
        "layer_norm": norms or None,
        "coupled": cell.coupled,
        "clip": cell.clip,
        "cell_clip": cell.cell_clip,
        "zoneout": cell.zoneout,
    }


def _in_order(cell: CellWeights, biased: bool) -> list[np.ndarray]:
    bias = np.zeros(cell.kernel.shape[1]) if cell.bias is None else cell.bias
    own = cell.arrays()
    beyond = [
        own[name].reshape(-1) if name == "peepholes" else own[name]
        for name in _BEYOND.values()
        if name in own
    ]
    return [cell.kernel, cell.recurrent_kernel, *([bias] if biased else []), *beyond]


def with_every_step(layer: Any) -> Any:
    """A layer of the same class and weights that returns the hidden states of all steps."""
    if isinstance(layer, keras.layers.Bidirectional):
        forward, backward = map(with_every_step, (layer.forward_layer, layer.backward_layer))
        both = keras.layers.Bidirectional(
            forward, backward_layer=backward, dtype=layer.dtype_policy
        )
        return _with_weights_of(both, layer)
    config = {**layer.get_config(), "return_sequences": True, "return_state": False}
    config |= {"stateful": False, "unroll": False}
    if "outputs" in config:
        config["outputs"] = None
    return _with_weights_of(type(layer).from_config(config), layer)


def _with_weights_of(copy: Any, layer: Any) -> Any:
    features = layer.weights[0].shape[0]
    if not copy.built:
        copy.build((None, None, features))
    copy.set_weights(layer.get_weights())
    return copy


def runner(layers: Any) -> Run:
    """How layers on top of each other are run."""

    def run(x: np.ndarray) -> np.ndarray:
        y: Any = x
        for layer in layers if isinstance(layers, list) else [layers]:
            y = layer(y)
        return np.asarray(keras.ops.convert_to_numpy(y))

    return run


def read_model(path: Path) -> Any:
    """A .keras file.

    Raises:
        ConveyorError: one that Keras cannot load, or that is damaged.
    """
    return load_model(path, str(path), 'Write model.save("model.keras").')
