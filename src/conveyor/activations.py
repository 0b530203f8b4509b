"""Activations with numbers: those of ONNX that Keras does not have, or has with other numbers.

Each is a function, and a value: it compares by its numbers, and files keep it.

>>> from conveyor import LSTM
>>> layer = LSTM(4, activation=ScaledTanh(1.7159, 2 / 3))
>>> layer.cell.activation
ScaledTanh(alpha=1.7159, beta=0.6666666666666666)

Of ONNX's eleven (https://onnx.ai/onnx/operators/onnx__LSTM.html) the others have names in Keras:
"relu", "tanh", "sigmoid", "softsign", "softplus".
"""

from __future__ import annotations

from ._engines._activations import (
    Affine,
    Elu,
    HardSigmoid,
    LeakyRelu,
    ScaledTanh,
    ThresholdedRelu,
)

__all__ = ["Affine", "Elu", "HardSigmoid", "LeakyRelu", "ScaledTanh", "ThresholdedRelu"]
