"""Layers that join, cut or look along several time steps, as nodes."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from ._builder import Builder, Tensor
from ._emit_activations import activate
from ._lstm_node import to_numpy


def _flatten(build: Builder, layer: Any, inputs: list[Tensor]) -> Tensor | None:
    x = inputs[0]
    if any(size is None for size in x.shape[1:]):
        return None
    width = int(np.prod([size or 1 for size in x.shape[1:]]))
    return Tensor(build("Reshape", x.name, build.integers(-1, width)), (x.shape[0], width))


def _reshape(build: Builder, layer: Any, inputs: list[Tensor]) -> Tensor | None:
    x = inputs[0]
    target = [int(size) for size in layer.target_shape]
    shape = tuple(layer.compute_output_shape(x.shape))
    if -1 in target and None not in shape[1:]:
        target = [int(size) for size in shape[1:]]
    if target.count(-1) > 1 or x.shape[0] is not None:
        return None
    if -1 not in target:
        return Tensor(build("Reshape", x.name, build.integers(-1, *target)), shape)
    batch = build("Slice", build("Shape", x.name), *(build.integers(n) for n in (0, 1, 0)))
    rows = build("Concat", batch, build.integers(*target), axis=0)
    return Tensor(build("Reshape", x.name, rows), shape)


def _permute(build: Builder, layer: Any, inputs: list[Tensor]) -> Tensor:
    x, order = inputs[0], [0, *(int(axis) for axis in layer.dims)]
    return Tensor(build("Transpose", x.name, perm=order), tuple(x.shape[axis] for axis in order))


def _repeat_vector(build: Builder, layer: Any, inputs: list[Tensor]) -> Tensor:
    x, count = inputs[0], int(layer.n)
    one = build("Unsqueeze", x.name, build.integers(1))
    name = build("Tile", one, build.integers(1, count, 1))
    return Tensor(name, (x.shape[0], count, x.shape[1]))


def _average_pooling(build: Builder, layer: Any, inputs: list[Tensor]) -> Tensor | None:
    x = inputs[0]
    if layer.data_format != "channels_last":
        return None
    keep, axis = int(layer.keepdims), build.integers(1)
    if x.mask is None:
        size = build("Cast", build.at_end(build("Shape", x.name), 0, 1, 2), to=1)
        name = build("Div", build("ReduceSum", x.name, axis, keepdims=keep), size)
    else:
        counts = build("Unsqueeze", x.mask, build.integers(2))
        kept = build("Where", counts, x.name, build.number(0.0))
        total = build("ReduceSum", kept, axis, keepdims=keep)
        steps = build("ReduceSum", build("Cast", counts, to=1), axis, keepdims=keep)
        name = build("Div", total, steps)
    return Tensor(name, _pooled(x, keep))


def _max_pooling(build: Builder, layer: Any, inputs: list[Tensor]) -> Tensor | None:
    x = inputs[0]
    if layer.data_format != "channels_last":
        return None
    keep = int(layer.keepdims)
    # The axes became an input with opset 18.
    if build.opset >= 18:
        name = build("ReduceMax", x.name, build.integers(1), keepdims=keep)
    else:
        name = build("ReduceMax", x.name, axes=[1], keepdims=keep)
    return Tensor(name, _pooled(x, keep))


def _pooled(x: Tensor, keep: int) -> tuple[int | None, ...]:
    return (x.shape[0], 1, x.shape[2]) if keep else (x.shape[0], x.shape[2])


def _conv(build: Builder, layer: Any, inputs: list[Tensor]) -> Tensor | None:
    x = inputs[0]
    (stride,), (dilation,), (size,) = layer.strides, layer.dilation_rate, layer.kernel_size
    if layer.data_format != "channels_last" or (layer.padding == "same" and stride > 1):
        return None
    reach = dilation * (size - 1)
    left = {"valid": 0, "causal": reach, "same": reach // 2}[layer.padding]
    right = reach - left if layer.padding == "same" else 0
    weights = [build.constant(to_numpy(layer.kernel).transpose(2, 1, 0), f"{layer.name}/kernel")]
    if layer.use_bias:
        weights.append(build.constant(to_numpy(layer.bias), f"{layer.name}/bias"))
    z = build(
        "Conv",
        build("Transpose", x.name, perm=[0, 2, 1]),
        *weights,
        hint=layer.name,
        kernel_shape=[size],
        strides=[stride],
        dilations=[dilation],
        pads=[left, right],
        group=int(layer.groups),
    )
    y = activate(build, layer.activation, build("Transpose", z, perm=[0, 2, 1]))
    return None if y is None else Tensor(y, tuple(layer.compute_output_shape(x.shape)))


SHAPES = {
    keras.layers.Flatten: _flatten,
    keras.layers.Reshape: _reshape,
    keras.layers.Permute: _permute,
    keras.layers.RepeatVector: _repeat_vector,
    keras.layers.GlobalAveragePooling1D: _average_pooling,
    keras.layers.GlobalMaxPooling1D: _max_pooling,
    keras.layers.Conv1D: _conv,
}
