"""What an engine is told of a GRU besides arrays, as one text; see `_options`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ._activations import function_of
from ._gru_request import GRURequest
from ._options import named


@dataclass(frozen=True)
class GRUOptions:
    """Activations by the names that the core has for them."""

    activation: str = "tanh"
    recurrent_activation: str = "sigmoid"
    reset_after: bool = True
    go_backwards: bool = False

    @property
    def text(self) -> str:
        """For `options`."""
        return _written(
            self.activation, self.recurrent_activation, self.reset_after, self.go_backwards
        )

    def of_request(self) -> dict[str, Any]:
        """The fields of a request that say the same."""
        return {
            "activation": function_of(self.activation),
            "recurrent_activation": function_of(self.recurrent_activation),
            "reset_after": self.reset_after,
            "go_backwards": self.go_backwards,
        }


def options_of(request: GRURequest) -> GRUOptions:
    """Of a request whose activations the core has."""
    return options(text_of_request(request))


def text_of_request(request: GRURequest) -> str:
    """Its `GRUOptions.text`, by what torch.compile can follow."""
    r = request
    activations = named(r.activation), named(r.recurrent_activation)
    return _written(*activations, r.reset_after, r.go_backwards)


@lru_cache(maxsize=1024)
def options(text: str) -> GRUOptions:
    """Of what `GRUOptions.text` wrote."""
    activation, recurrent_activation, reset_after, go_backwards = text.split()
    return GRUOptions(
        activation, recurrent_activation, bool(int(reset_after)), bool(int(go_backwards))
    )


def _written(activation: str, gates: str, reset_after: bool, go_backwards: bool) -> str:
    return f"{activation} {gates} {int(reset_after)} {int(go_backwards)}"
