"""Layers without a memory, as nodes."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from ._builder import Builder, Tensor
from ._emit_activations import activate
from ._emit_merges import MERGES, Emit, broadcast
from ._emit_shapes import SHAPES
from ._lstm_node import to_numpy
from ._normalised import normalised


def emit_local(build: Builder, layer: Any, inputs: list[Tensor]) -> Tensor | None:
    """What a layer or operation makes of its inputs; None where there is no node for it."""
    if isinstance(layer, keras.layers.TimeDistributed):
        # What works along the last axis is the same with a time axis before it.
        inner = type(layer.layer) in (keras.layers.Dense, keras.layers.Activation, *_AS_IT_IS)
        return emit_local(build, layer.layer, inputs) if inner else None
    emit = _EMITTERS.get(type(layer))
    if emit is not None:
        return emit(build, layer, inputs)
    operation = _OPERATIONS.get(type(layer).__name__)
    if operation is None or isinstance(layer, keras.layers.Layer) or not inputs:
        return None
    # To Keras what is no layer has no mask.
    return Tensor(build(operation, *(x.name for x in inputs)), broadcast(inputs))


# Of keras.ops, as `x + y` makes them of two tensors.
_OPERATIONS = {
    "Add": "Add",
    "Subtract": "Sub",
    "Multiply": "Mul",
    "Divide": "Div",
    "TrueDivide": "Div",
    "Negative": "Neg",
    "Tanh": "Tanh",
    "Sigmoid": "Sigmoid",
    "Relu": "Relu",
    "Exp": "Exp",
    "Maximum": "Max",
    "Minimum": "Min",
}

_AS_IT_IS = (
    keras.layers.Dropout,
    keras.layers.SpatialDropout1D,
    keras.layers.GaussianNoise,
    keras.layers.GaussianDropout,
    keras.layers.AlphaDropout,
    keras.layers.ActivityRegularization,
    keras.layers.Identity,
)


def _as_it_is(build: Builder, layer: Any, inputs: list[Tensor]) -> Tensor:
    return inputs[0]


def _embedding(build: Builder, layer: Any, inputs: list[Tensor]) -> Tensor:
    ids = inputs[0]
    table = build.constant(to_numpy(layer.embeddings), f"{layer.name}/table")
    whole = build("Cast", ids.name, to=7)
    mask = ids.mask
    if layer.mask_zero:
        mask = build("Not", build("Equal", whole, build.constant(np.int64(0))), hint="mask")
    return Tensor(build("Gather", table, whole), (*ids.shape, int(layer.output_dim)), mask)


def _masking(build: Builder, layer: Any, inputs: list[Tensor]) -> Tensor:
    x = inputs[0]
    differs = build("Not", build("Equal", x.name, build.number(layer.mask_value)))
    count = build("ReduceSum", build("Cast", differs, to=6), build.integers(-1), keepdims=0)
    mask = build("Greater", count, build.constant(np.int32(0)), hint="mask")
    counts = build("Unsqueeze", mask, build.integers(2))
    return Tensor(build("Where", counts, x.name, build.number(0.0)), x.shape, mask)


def _dense(build: Builder, layer: Any, inputs: list[Tensor]) -> Tensor | None:
    x = inputs[0]
    kernel = build.constant(to_numpy(layer.kernel), f"{layer.name}/kernel")
    z = build("MatMul", x.name, kernel, hint=layer.name)
    if layer.use_bias:
        z = build("Add", z, build.constant(to_numpy(layer.bias), f"{layer.name}/bias"))
    y = activate(build, layer.activation, z)
    return None if y is None else x.named(y, (*x.shape[:-1], int(layer.units)))


def _activation(build: Builder, layer: Any, inputs: list[Tensor]) -> Tensor | None:
    y = activate(build, layer.activation, inputs[0].name)
    return None if y is None else inputs[0].named(y)


def _relu(build: Builder, layer: Any, inputs: list[Tensor]) -> Tensor | None:
    if layer.max_value is not None or layer.negative_slope or layer.threshold:
        return None
    return inputs[0].named(build("Relu", inputs[0].name))


def _leaky_relu(build: Builder, layer: Any, inputs: list[Tensor]) -> Tensor:
    slope = float(layer.negative_slope)
    return inputs[0].named(build("LeakyRelu", inputs[0].name, alpha=slope))


def _elu(build: Builder, layer: Any, inputs: list[Tensor]) -> Tensor:
    return inputs[0].named(build("Elu", inputs[0].name, alpha=float(layer.alpha)))


def _softmax(build: Builder, layer: Any, inputs: list[Tensor]) -> Tensor | None:
    if layer.axis not in (-1, len(inputs[0].shape) - 1):
        return None  # along the time steps padding would take part
    return inputs[0].named(build("Softmax", inputs[0].name, axis=-1))


def _last_axis(layer: Any, x: Tensor) -> bool:
    axis = layer.axis if isinstance(layer.axis, list | tuple) else [layer.axis]
    return len(axis) == 1 and axis[0] in (-1, len(x.shape) - 1)


def _layer_normalization(build: Builder, layer: Any, inputs: list[Tensor]) -> Tensor | None:
    x = inputs[0]
    if not _last_axis(layer, x) or getattr(layer, "rms_scaling", False):
        return None
    y = normalised(build, x.name, int(x.shape[-1] or 1), layer.epsilon)
    if layer.gamma is not None:
        y = build("Mul", y, build.constant(to_numpy(layer.gamma), f"{layer.name}/gamma"))
    if layer.beta is not None:
        y = build("Add", y, build.constant(to_numpy(layer.beta), f"{layer.name}/beta"))
    return x.named(y)


def _batch_normalization(build: Builder, layer: Any, inputs: list[Tensor]) -> Tensor | None:
    x = inputs[0]
    if not _last_axis(layer, x):
        return None
    scale = 1.0 / np.sqrt(to_numpy(layer.moving_variance) + layer.epsilon)
    scale = scale * (1.0 if layer.gamma is None else to_numpy(layer.gamma))
    shift = (0.0 if layer.beta is None else to_numpy(layer.beta)) - to_numpy(
        layer.moving_mean
    ) * scale
    y = build("Mul", x.name, build.constant(np.float32(scale), f"{layer.name}/scale"))
    return x.named(build("Add", y, build.constant(np.float32(shift), f"{layer.name}/shift")))


_EMITTERS: dict[type, Emit] = {
    **dict.fromkeys(_AS_IT_IS, _as_it_is),
    keras.layers.Embedding: _embedding,
    keras.layers.Masking: _masking,
    keras.layers.Dense: _dense,
    keras.layers.Activation: _activation,
    keras.layers.ReLU: _relu,
    keras.layers.LeakyReLU: _leaky_relu,
    keras.layers.ELU: _elu,
    keras.layers.Softmax: _softmax,
    keras.layers.LayerNormalization: _layer_normalization,
    keras.layers.BatchNormalization: _batch_normalization,
    **MERGES,
    **SHAPES,
}
