"""What an engine is told of a request besides arrays, as one text.

Operators of PyTorch and TensorFlow take texts and numbers, and no values of Python's; a cache of
what was made for a request wants something that can be compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ._activations import function_of, text_of
from ._request import Activation, LSTMRequest
from ._variant import PLAIN, Variant


@dataclass(frozen=True)
class Options:
    """Activations by the names that the core has for them."""

    activation: str = "tanh"
    recurrent_activation: str = "sigmoid"
    output_activation: str = "tanh"
    go_backwards: bool = False
    variant: Variant = PLAIN

    @property
    def text(self) -> str:
        """For `options`."""
        return _written(
            self.activation,
            self.recurrent_activation,
            self.output_activation,
            self.go_backwards,
            self.variant,
        )

    def of_request(self) -> dict[str, Any]:
        """The fields of a request that say the same."""
        return {
            "activation": function_of(self.activation),
            "recurrent_activation": function_of(self.recurrent_activation),
            "output_activation": function_of(self.output_activation),
            "go_backwards": self.go_backwards,
            "variant": self.variant,
        }


def options_of(request: LSTMRequest) -> Options:
    """Of a request whose activations the core has."""
    return Options(*_named_in(request), request.go_backwards, request.variant)


def text_of_request(request: LSTMRequest) -> str:
    """Its `Options.text`, by what torch.compile can follow."""
    return _written(*_named_in(request), request.go_backwards, request.variant)


def _named_in(request: LSTMRequest) -> tuple[str, str, str]:
    r = request
    activation = named(r.activation)
    out = activation if r.output_activation is None else named(r.output_activation)
    return activation, named(r.recurrent_activation), out


def named(activation: Activation) -> str:
    """What the core calls an activation that it has."""
    text = text_of(activation)
    if text is None:
        raise ValueError(f"the native engine has no {activation}")
    return text


@lru_cache(maxsize=1024)
def options(text: str) -> Options:
    """Of what `Options.text` wrote."""
    activation, recurrent_activation, output_activation, *numbers = text.split()
    go_backwards, coupled, *rest = map(float, numbers)
    variant = Variant(bool(coupled), *rest)
    return Options(activation, recurrent_activation, output_activation, bool(go_backwards), variant)


def _written(activation: str, gates: str, out: str, go_backwards: bool, v: Variant) -> str:
    return (
        f"{activation} {gates} {out} {int(go_backwards)} {int(v.coupled)} "
        f"{v.clip} {v.cell_clip} {v.hidden_zoneout} {v.cell_zoneout}"
    )
