"""The activations of the native core: their names, their parameters, and which function is which.

A text names one with its numbers, `leaky_relu(0.2)`: hashable, and the same in every framework.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple

import keras
from keras import ops

from ._request import Activation, Array

# In the order of `conveyor_activation`; a test compares the two.
KINDS = (
    "tanh",
    "sigmoid",
    "hard_sigmoid",
    "relu",
    "linear",
    "affine",
    "leaky_relu",
    "thresholded_relu",
    "scaled_tanh",
    "clamped_affine",
    "elu",
    "softsign",
    "softplus",
    "clamp",
    "silu",
    "hard_silu",
    "gelu",
    "gelu_tanh",
    "exponential",
    "mish",
    "log_sigmoid",
    "tanh_shrink",
    "soft_shrink",
    "hard_shrink",
    "squareplus",
    "sparse_plus",
)
# Of Keras, under another name or with numbers.
_OF_KERAS = {
    **{name: name for name in KINDS},
    "leaky_relu": "leaky_relu(0.2)",
    "elu": "elu(1.0,1.0)",
    "celu": "elu(1.0,1.0)",
    "selu": "elu(1.6732632423543772,1.0507009873554805)",
    "relu6": "clamp(0.0,6.0)",
    "hard_tanh": "clamp(-1.0,1.0)",
    "soft_shrink": "soft_shrink(0.5)",
    "hard_shrink": "hard_shrink(0.5)",
    "squareplus": "squareplus(4.0)",
    "sparse_sigmoid": "clamped_affine(0.5,0.5)",
}
_KNOWN: tuple[tuple[Activation, str], ...] = tuple(
    (getattr(keras.activations, name), text)
    for name, text in _OF_KERAS.items()
    if hasattr(keras.activations, name)
)


class Code(NamedTuple):
    """What the core is told: a `conveyor_activation` and its two numbers."""

    kind: int
    alpha: float
    beta: float


@lru_cache(maxsize=256)
def code(text: str) -> Code:
    """Of `leaky_relu(0.2)`."""
    name, _, rest = text.partition("(")
    numbers = [float(number) for number in rest.rstrip(")").split(",") if number]
    alpha, beta = [*numbers, 0.0, 0.0][:2]
    return Code(KINDS.index(name), alpha, beta)


def text_of(activation: Activation) -> str | None:
    """What the core calls it; None where it does not have it."""
    if isinstance(activation, Parametrised):
        return activation.text
    # By identity, as a callable object may compare with anything and have no hash.
    return next((text for function, text in _KNOWN if function is activation), None)


@lru_cache(maxsize=256)
def function_of(text: str) -> Activation:
    """The function that a text names."""
    for function, name in _KNOWN:
        if name == text:
            return function
    name = text.partition("(")[0]
    _, alpha, beta = code(text)
    kind: Any = next(kind for kind in Parametrised.__subclasses__() if kind.kind == name)
    made: Activation = kind(*(alpha, beta)[: len(fields(kind))])
    return made


@dataclass(frozen=True)
class Parametrised:
    """A function with numbers, which files and configurations keep."""

    kind: ClassVar[str]

    @property
    def text(self) -> str:
        numbers = ",".join(repr(float(value)) for value in self.get_config().values())
        return f"{self.kind}({numbers})"

    @property
    def __name__(self) -> str:
        return self.text

    def get_config(self) -> dict[str, Any]:
        """The numbers, by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Parametrised:
        """What `get_config` said."""
        return cls(**config)

    def __call__(self, x: Array) -> Array:
        raise NotImplementedError


def _serializable(kind: Any) -> Any:
    return keras.saving.register_keras_serializable(package="conveyor")(kind)


@_serializable
@dataclass(frozen=True)
class Affine(Parametrised):
    """alpha * x + beta."""

    kind: ClassVar[str] = "affine"
    alpha: float = 1.0
    beta: float = 0.0

    def __call__(self, x: Array) -> Array:
        return self.alpha * x + self.beta


@_serializable
@dataclass(frozen=True)
class LeakyRelu(Parametrised):
    """x, and alpha * x where it is negative."""

    kind: ClassVar[str] = "leaky_relu"
    alpha: float = 0.01

    def __call__(self, x: Array) -> Array:
        return ops.where(x >= 0, x, self.alpha * x)


@_serializable
@dataclass(frozen=True)
class ThresholdedRelu(Parametrised):
    """x where it is above alpha, else 0."""

    kind: ClassVar[str] = "thresholded_relu"
    alpha: float = 1.0

    def __call__(self, x: Array) -> Array:
        return ops.where(x > self.alpha, x, ops.zeros_like(x))


@_serializable
@dataclass(frozen=True)
class ScaledTanh(Parametrised):
    """alpha * tanh(beta * x)."""

    kind: ClassVar[str] = "scaled_tanh"
    alpha: float = 1.0
    beta: float = 1.0

    def __call__(self, x: Array) -> Array:
        from . import glue  # which imports the request, as this does

        return self.alpha * glue.active().exact(keras.activations.tanh)(self.beta * x)


@_serializable
@dataclass(frozen=True)
class HardSigmoid(Parametrised):
    """alpha * x + beta, within 0 and 1."""

    kind: ClassVar[str] = "clamped_affine"
    alpha: float = 0.2
    beta: float = 0.5

    def __call__(self, x: Array) -> Array:
        y = self.alpha * x + self.beta
        return ops.where(y > 1, ops.ones_like(y), ops.where(y < 0, ops.zeros_like(y), y))


@_serializable
@dataclass(frozen=True)
class Elu(Parametrised):
    """x, and alpha * (exp(x) - 1) where it is negative."""

    kind: ClassVar[str] = "elu"
    alpha: float = 1.0

    @property
    def text(self) -> str:
        return f"elu({float(self.alpha)!r},1.0)"

    def __call__(self, x: Array) -> Array:
        below = ops.where(x > 0, ops.zeros_like(x), x)
        return ops.where(x > 0, x, self.alpha * ops.expm1(below))
