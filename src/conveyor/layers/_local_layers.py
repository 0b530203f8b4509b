"""Which layers compute each time step from itself alone."""

from __future__ import annotations

from typing import Any

import keras

from ._graph import tensors_read

_LOCAL = (
    keras.layers.Dense,
    keras.layers.Embedding,
    keras.layers.Masking,
    keras.layers.TimeDistributed,
    keras.layers.Activation,
    keras.layers.ReLU,
    keras.layers.LeakyReLU,
    keras.layers.ELU,
    keras.layers.Rescaling,
    keras.layers.Add,
    keras.layers.Subtract,
    keras.layers.Multiply,
    keras.layers.Average,
    keras.layers.Maximum,
    keras.layers.Minimum,
    keras.layers.Dropout,
    keras.layers.SpatialDropout1D,
    keras.layers.GaussianNoise,
    keras.layers.GaussianDropout,
    keras.layers.AlphaDropout,
    keras.layers.ActivityRegularization,
    keras.layers.Identity,
)
# Local if they work along the last axis, which is that of the features.
_LAST_AXIS = (
    keras.layers.LayerNormalization,
    keras.layers.RMSNormalization,
    keras.layers.BatchNormalization,
    keras.layers.UnitNormalization,
    keras.layers.Concatenate,
    keras.layers.Softmax,
)
# Of keras.ops, as `x + y` makes them.
_ELEMENTWISE = (
    *("Add", "Subtract", "Multiply", "Divide", "TrueDivide", "Negative", "Maximum", "Minimum"),
    *("Tanh", "Sigmoid", "Relu", "Silu", "Gelu", "Softplus", "Exp", "Log", "Abs", "Absolute"),
    *("Square", "Sqrt", "Power", "Cast"),
)


def is_local(layer: Any, node: Any) -> bool:
    """Whether each time step is computed from itself alone."""
    if type(layer) in _LOCAL:
        return True
    if type(layer) in _LAST_AXIS:
        axis = layer.axis if not isinstance(layer.axis, list | tuple) else layer.axis[-1]
        several = isinstance(layer.axis, list | tuple) and len(layer.axis) > 1
        return not several and axis in (-1, len(tensors_read(node)[0].shape) - 1)
    same = all(len(t.shape) == len(node.output_tensors[0].shape) for t in tensors_read(node))
    return (
        type(layer).__name__ in _ELEMENTWISE and not isinstance(layer, keras.layers.Layer) and same
    )
