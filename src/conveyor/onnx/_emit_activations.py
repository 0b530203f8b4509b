"""Activations as nodes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras

from ._activations import OnnxActivation
from ._builder import Builder


def activate(build: Builder, activation: Any, x: str) -> str | None:
    """An activation of Keras; None where there is no node for it."""
    if isinstance(activation, OnnxActivation):
        return _WITH_NUMBERS[activation.name](build, x, activation.alpha, activation.beta)
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


def _affine(build: Builder, x: str, a: float | None, b: float | None) -> str:
    return build("Add", build("Mul", x, build.number(a or 0.0)), build.number(b or 0.0))


def _scaled_tanh(build: Builder, x: str, a: float | None, b: float | None) -> str:
    inside = build("Tanh", build("Mul", x, build.number(b or 0.0)))
    return build("Mul", inside, build.number(a or 0.0))


def _thresholded(build: Builder, x: str, a: float | None, b: float | None) -> str:
    below = build("Less", x, build.number(a or 0.0))
    return build("Where", below, build.number(0.0), x)


_WITH_NUMBERS: dict[str, Callable[[Builder, str, float | None, float | None], str]] = {
    "affine": _affine,
    "leakyrelu": lambda build, x, a, b: build("LeakyRelu", x, alpha=a),
    "thresholdedrelu": _thresholded,
    "scaledtanh": _scaled_tanh,
    "hardsigmoid": lambda build, x, a, b: build("HardSigmoid", x, alpha=a, beta=b),
    "elu": lambda build, x, a, b: build("Elu", x, alpha=a),
}
