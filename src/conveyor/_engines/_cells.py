"""What the glue of a framework has to know of an LSTM, or of a GRU, to hand it to the core."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .._vocabulary import GRU_STATE_NAMES, STATE_NAMES
from . import (
    _gru_library,
    _gru_options,
    _library,
    _native,
    _native_gru,
    _options,
    _portable,
    _portable_gru,
)
from ._gru_request import GRURequest
from ._request import LSTMRequest

Names = tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Cell:
    """One kind of request: its arrays, its states, and the modules that are about it.

    Modules and not their functions, as glue imports this while some are being imported.
    """

    what: str
    request: type[Any]
    inputs: Names
    differentiable: Names
    weights: Names
    states: Names
    gates: int  # how many lie side by side in a kernel
    core: Any  # through ctypes
    described: Any  # what the core is told of a request
    written: Any  # options as a text
    reference: Any  # the portable engine

    def arrays(self, request: Any) -> dict[str, Any]:
        """Those that there are, in the order of the core."""
        arrays = {name: getattr(request, name) for name in self.inputs}
        return {name: array for name, array in arrays.items() if array is not None}

    def problem(self, request: Any) -> Any:
        """The `core.Problem` of a request whose shapes are known."""
        return self.described.problem(request)

    def beyond(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        """What arrays say of a `core.Problem` besides its axes and masks."""
        said: dict[str, Any] = self.described.beyond(arrays)
        return said

    def state_size(self, name: str, recurrent_kernel: Any) -> Any:
        """The last axis of a state, by a kernel (H, gates U); None for one not known yet."""
        hidden, width = recurrent_kernel.shape
        if name.startswith("hidden"):
            return hidden
        return None if width is None else width // self.gates

    def text_of_request(self, request: Any) -> str:
        """Its options."""
        text: str = self.written.text_of_request(request)
        return text

    def portable(
        self, arrays: Mapping[str, Any], options: str, outputs: Sequence[str]
    ) -> list[Any]:
        """The named states of arrays and options, by the portable engine."""
        request = self.request(
            **{name: arrays.get(name) for name in self.inputs},
            **self.written.options(options).of_request(),
            unroll=False,
            outputs=tuple(outputs),
        )
        return self.run(request)

    def run(self, request: Any) -> list[Any]:
        """The states that a request names, by the portable engine."""
        states = self.reference.run(request)
        return [states[name] for name in request.outputs]


LSTM = Cell(
    what="an LSTM",
    request=LSTMRequest,
    inputs=_library.INPUTS,
    differentiable=_library.DIFFERENTIABLE,
    weights=_library.WEIGHTS,
    states=STATE_NAMES,
    gates=4,
    core=_library,
    described=_native,
    written=_options,
    reference=_portable,
)
GRU = Cell(
    what="a GRU",
    request=GRURequest,
    inputs=_gru_library.INPUTS,
    differentiable=_gru_library.DIFFERENTIABLE,
    weights=_gru_library.WEIGHTS,
    states=GRU_STATE_NAMES,
    gates=3,
    core=_gru_library,
    described=_native_gru,
    written=_gru_options,
    reference=_portable_gru,
)


def of(request: Any) -> Cell:
    """That of a request."""
    return GRU if isinstance(request, GRURequest) else LSTM
