"""The activations of the ONNX operator LSTM, with alpha and beta."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras

from .. import activations
from .._errors import lesson

# alpha and beta where the node gives none, as of the ONNX operators of these names. None: the
# function has no such number.
_DEFAULTS: dict[str, tuple[float | None, float | None]] = {
    "relu": (None, None),
    "tanh": (None, None),
    "sigmoid": (None, None),
    "softsign": (None, None),
    "softplus": (None, None),
    "affine": (1.0, 0.0),
    "leakyrelu": (0.01, None),
    "thresholdedrelu": (1.0, None),
    "scaledtanh": (1.0, 1.0),
    "hardsigmoid": (0.2, 0.5),
    "elu": (1.0, None),
}


@dataclass(frozen=True)
class Activation:
    """One of the eleven functions, by its name in lower case, and its numbers."""

    name: str
    alpha: float | None = None
    beta: float | None = None

    def __str__(self) -> str:
        numbers = [f"{n}={v:g}" for n, v in (("alpha", self.alpha), ("beta", self.beta)) if v]
        return f"{self.name}({', '.join(numbers)})" if numbers else self.name


def activations_of(names: list[str], alphas: list[float], betas: list[float]) -> list[Activation]:
    """Functions with their numbers, which those that have one take in their order.

    Raises:
        ConveyorError: a name that ONNX does not have.
    """
    left = {"alpha": list(alphas), "beta": list(betas)}
    found = []
    for name in names:
        known = _DEFAULTS.get(name.lower())
        if known is None:
            raise lesson(
                "conveyor.onnx",
                f"activations of {', '.join(_DEFAULTS)}",
                name,
                "The file is not of the ONNX operator LSTM.",
            )
        numbers = [
            (left[kind].pop(0) if left[kind] else default) if default is not None else None
            for kind, default in zip(("alpha", "beta"), known, strict=True)
        ]
        found.append(Activation(name.lower(), *numbers))
    return found


_PLAIN: dict[Activation, Any] = {
    Activation("relu"): keras.activations.relu,
    Activation("tanh"): keras.activations.tanh,
    Activation("sigmoid"): keras.activations.sigmoid,
    Activation("softsign"): keras.activations.softsign,
    Activation("softplus"): keras.activations.softplus,
    Activation("affine", 1.0, 0.0): keras.activations.linear,
    Activation("elu", 1.0): keras.activations.elu,
}

_WITH_NUMBERS: dict[str, Any] = {
    "affine": activations.Affine,
    "leakyrelu": activations.LeakyRelu,
    "thresholdedrelu": activations.ThresholdedRelu,
    "scaledtanh": activations.ScaledTanh,
    "hardsigmoid": activations.HardSigmoid,
    "elu": activations.Elu,
}


def in_keras(activation: Activation) -> Any:
    """The function for a layer: Keras's own where it has one."""
    if abs((activation.alpha or 0) - 1 / 6) < 1e-7 and activation == Activation(
        "hardsigmoid", activation.alpha, 0.5
    ):
        return keras.activations.hard_sigmoid
    if activation in _PLAIN:
        return _PLAIN[activation]
    numbers = [n for n in (activation.alpha, activation.beta) if n is not None]
    return _WITH_NUMBERS[activation.name](*numbers)


# As the operator spells them; those of Keras with the numbers that they have there.
_SPELLED: dict[Any, tuple[str, float | None, float | None]] = {
    keras.activations.sigmoid: ("Sigmoid", None, None),
    keras.activations.tanh: ("Tanh", None, None),
    keras.activations.relu: ("Relu", None, None),
    keras.activations.softsign: ("Softsign", None, None),
    keras.activations.softplus: ("Softplus", None, None),
    keras.activations.linear: ("Affine", 1.0, 0.0),
    keras.activations.hard_sigmoid: ("HardSigmoid", 1 / 6, 0.5),
    keras.activations.elu: ("Elu", 1.0, None),
    keras.activations.leaky_relu: ("LeakyRelu", 0.2, None),
}


def spelled(function: Any) -> tuple[str, float | None, float | None] | None:
    """Name, alpha and beta of a function of a layer; None for one that the operator lacks."""
    for kind in _WITH_NUMBERS.values():
        if isinstance(function, kind):
            return kind.__name__, function.alpha, getattr(function, "beta", None)
    # By identity, as a callable object may have no hash.
    return next((known for one, known in _SPELLED.items() if one is function), None)


def is_odd_about_half(function: Any) -> bool:
    """Whether 1 - f(z) is f(-z), as of the sigmoid."""
    known = spelled(function)
    return known is not None and (
        known[0] == "Sigmoid" or (known[0], known[2]) == ("HardSigmoid", 0.5)
    )


def attributes_of(named: list[tuple[str, float | None, float | None]]) -> dict[str, Any]:
    """The attributes of a node for the functions in its order."""
    attributes: dict[str, Any] = {"activations": [name for name, _, _ in named]}
    for key, place in (("activation_alpha", 1), ("activation_beta", 2)):
        numbers = [entry[place] for entry in named if entry[place] is not None]
        if numbers:
            attributes[key] = numbers
    return attributes
