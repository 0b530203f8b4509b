"""The weights of LSTMs, in one form, whichever framework they come from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from .._errors import lesson

Array = np.ndarray

GATE_ORDER = ("input", "forget", "candidate", "output")


@dataclass(frozen=True)
class CellWeights:
    """One LSTM that reads in one direction. Gates in the order input, forget, candidate, output.

    Attributes:
        kernel: (F, 4U).
        recurrent_kernel: (U, 4U); (P, 4U) with a projection.
        bias: (4U,), the sum where a framework has two; None for none.
        projection: (U, P), what the hidden state is multiplied with (Sak et al. 2014), or None.
        peepholes: (3, U), from the cell state to the input, forget and output gate (Gers &
            Schmidhuber 2000), or None.
    """

    kernel: Array
    recurrent_kernel: Array
    bias: Array | None = None
    projection: Array | None = None
    peepholes: Array | None = None

    def __post_init__(self) -> None:
        # Arrays of their own: what they came from may change, or go.
        for name, array in self.arrays().items():
            object.__setattr__(self, name, _own(name, array))
        for name, array in self.arrays().items():
            wanted = self._shapes()[name]
            if array.shape != wanted:
                raise lesson(
                    "conveyor.convert",
                    f"{name} of shape {wanted}, beside a recurrent kernel of shape "
                    f"{self.recurrent_kernel.shape}",
                    f"shape {array.shape}",
                    "Look at where they come from: gates, or rows and columns, may be mixed up.",
                )

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        four = self.recurrent_kernel.shape[-1]
        units, size = four // 4, self.recurrent_kernel.shape[0]
        features = self.kernel.shape[0]
        # Where nothing is projected, the hidden state has as many entries as there are units.
        size = size if self.projection is not None else units
        return {
            "kernel": (features, 4 * units),
            "recurrent_kernel": (size, 4 * units),
            "bias": (4 * units,),
            "projection": (units, size),
            "peepholes": (3, units),
        }

    def arrays(self) -> dict[str, Array]:
        """Those that are there, by name."""
        named = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: array for name, array in named.items() if array is not None}

    @property
    def features(self) -> int:
        """F."""
        return int(self.kernel.shape[0])

    @property
    def units(self) -> int:
        """U."""
        return int(self.kernel.shape[1]) // 4

    @property
    def output_size(self) -> int:
        """Of the hidden state: U, or P with a projection."""
        return int(self.recurrent_kernel.shape[0])


@dataclass(frozen=True)
class LSTMWeights:
    """LSTMs on top of each other, in one direction or two.

    Attributes:
        layers: the lowest first; of each the forward LSTM, or forward and backward. The layer
            above reads the hidden states of both, forward first.

    Raises:
        ConveyorError: layers that do not fit on each other.
    """

    layers: tuple[tuple[CellWeights, ...], ...]

    def __post_init__(self) -> None:
        below: int | None = None
        for n, layer in enumerate(self.layers):
            if len(layer) not in (1, 2) or len({self._form(cell) for cell in layer}) != 1:
                raise lesson(
                    "conveyor.convert",
                    "one LSTM a layer, or two of the same sizes, forward and backward",
                    f"in layer {n}: {', '.join(map(str, map(self._form, layer)))}",
                    "Convert them one by one.",
                )
            if below is not None and layer[0].features != below:
                raise lesson(
                    "conveyor.convert",
                    f"layer {n} to read the {below} hidden states of the layer below",
                    f"a kernel for {layer[0].features} features",
                    "Convert the layers one by one, if something stands between them.",
                )
            below = sum(cell.output_size for cell in layer)

    @staticmethod
    def _form(cell: CellWeights) -> dict[str, Any] | Any:
        return tuple((name, array.shape) for name, array in cell.arrays().items())

    @property
    def cells(self) -> Iterable[CellWeights]:
        """All of them, layer by layer."""
        return (cell for layer in self.layers for cell in layer)

    @property
    def features(self) -> int:
        """Of the input."""
        return self.layers[0][0].features

    @property
    def dtype(self) -> np.dtype:
        """Of the arrays."""
        return np.result_type(*(a for cell in self.cells for a in cell.arrays().values()))

    def has(self, part: str) -> bool:
        """Whether any LSTM has a "bias", a "projection" or "peepholes"."""
        return any(getattr(cell, part) is not None for cell in self.cells)

    def __str__(self) -> str:
        kinds = {1: "", 2: " in two directions"}
        return ", ".join(
            f"{layer[0].features} features to {layer[0].units} units{kinds[len(layer)]}"
            for layer in self.layers
        )


def _own(name: str, array: Any) -> Array:
    given = np.asarray(array)
    if given.dtype.name in ("float16", "bfloat16"):
        given = given.astype(np.float32)  # exact
    if given.dtype not in (np.float32, np.float64) or given.ndim not in (1, 2) or not given.size:
        raise lesson(
            "conveyor.convert",
            f"{name} to be numbers in float16, bfloat16, float32 or float64",
            f"shape {given.shape} in {given.dtype}",
            "Write the weights of one LSTM.",
        )
    return np.array(given, order="C")
