"""Activations as nodes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras

from .. import activations
from ._builder import Builder


def activate(build: Builder, activation: Any, x: str) -> str | None:
    """An activation of Keras; None where there is no node for it."""
    with_numbers = _WITH_NUMBERS.get(type(activation))
    if with_numbers is not None:
        return with_numbers(build, x, activation)
    made = _FORMULAS.get(activation)
    if made is not None:
        return made(build, x)
    name = _NODES.get(activation)
    return None if name is None else build(name, x)


_NODES = {
    keras.activations.tanh: "Tanh",
    keras.activations.sigmoid: "Sigmoid",
    keras.activations.relu: "Relu",
    keras.activations.elu: "Elu",
    keras.activations.selu: "Selu",
    keras.activations.softplus: "Softplus",
    keras.activations.softsign: "Softsign",
    keras.activations.exponential: "Exp",
}


def _gelu(build: Builder, x: str) -> str:
    # The operator of this name is newer than opset 14.
    erf = build("Erf", build("Div", x, build.number(math.sqrt(2))))
    return build("Mul", build("Mul", x, build.number(0.5)), build("Add", erf, build.number(1.0)))


_FORMULAS: dict[Any, Callable[[Builder, str], str]] = {
    keras.activations.linear: lambda build, x: x,
    keras.activations.softmax: lambda build, x: build("Softmax", x, axis=-1),
    keras.activations.log_softmax: lambda build, x: build("LogSoftmax", x, axis=-1),
    keras.activations.hard_sigmoid: lambda build, x: build("HardSigmoid", x, alpha=1 / 6, beta=0.5),
    keras.activations.silu: lambda build, x: build("Mul", x, build("Sigmoid", x)),
    keras.activations.mish: lambda build, x: build("Mul", x, build("Tanh", build("Softplus", x))),
    keras.activations.leaky_relu: lambda build, x: build("LeakyRelu", x, alpha=0.2),
    keras.activations.relu6: lambda build, x: build(
        "Clip", x, build.number(0.0), build.number(6.0)
    ),
    keras.activations.gelu: _gelu,
}


def _affine(build: Builder, x: str, f: activations.Affine) -> str:
    return build("Add", build("Mul", x, build.number(f.alpha)), build.number(f.beta))


def _scaled_tanh(build: Builder, x: str, f: activations.ScaledTanh) -> str:
    inside = build("Tanh", build("Mul", x, build.number(f.beta)))
    return build("Mul", inside, build.number(f.alpha))


def _thresholded(build: Builder, x: str, f: activations.ThresholdedRelu) -> str:
    above = build("Greater", x, build.number(f.alpha))
    return build("Where", above, x, build.number(0.0))


_WITH_NUMBERS: dict[type, Callable[[Builder, str, Any], str]] = {
    activations.Affine: _affine,
    activations.LeakyRelu: lambda build, x, f: build("LeakyRelu", x, alpha=float(f.alpha)),
    activations.ThresholdedRelu: _thresholded,
    activations.ScaledTanh: _scaled_tanh,
    activations.HardSigmoid: lambda build, x, f: build(
        "HardSigmoid", x, alpha=float(f.alpha), beta=float(f.beta)
    ),
    activations.Elu: lambda build, x, f: build("Elu", x, alpha=float(f.alpha)),
}
