"""The weights of GRUs, in one form, whichever framework they come from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._errors import lesson
from ._weights import Array, _own

GRU_GATE_ORDER = ("update", "reset", "candidate")


@dataclass(frozen=True)
class GRUCellWeights:
    """One GRU that reads in one direction. Gates in the order update, reset, candidate.

    Attributes:
        kernel: (F, 3U).
        recurrent_kernel: (U, 3U).
        bias: (2, 3U) with reset_after, of the input and of the hidden state, else (3U,); None for
            none.
        reset_after: whether the reset gate acts on h' R + b (cuDNN, PyTorch) or on h'.
    """

    kernel: Array
    recurrent_kernel: Array
    bias: Array | None = None
    reset_after: bool = True

    def __post_init__(self) -> None:
        # Arrays of their own: what they came from may change, or go.
        for name, array in self.arrays().items():
            object.__setattr__(self, name, _own(name, array))
        units = self.recurrent_kernel.shape[-1] // 3
        wanted: dict[str, tuple[int, ...]] = {
            "kernel": (self.kernel.shape[0], 3 * units),
            "recurrent_kernel": (units, 3 * units),
            "bias": (2, 3 * units) if self.reset_after else (3 * units,),
        }
        for name, array in self.arrays().items():
            if array.shape != wanted[name]:
                raise lesson(
                    "conveyor.convert",
                    f"{name} of shape {wanted[name]}, beside a recurrent kernel of shape "
                    f"{self.recurrent_kernel.shape} and reset_after={self.reset_after}",
                    f"shape {array.shape}",
                    "Look at where they come from: gates, or rows and columns, may be mixed up.",
                )

    def arrays(self) -> dict[str, Array]:
        """Those that are there, by name."""
        named = {name: getattr(self, name) for name in ("kernel", "recurrent_kernel", "bias")}
        return {name: array for name, array in named.items() if array is not None}

    @property
    def features(self) -> int:
        """F."""
        return int(self.kernel.shape[0])

    @property
    def units(self) -> int:
        """U."""
        return int(self.recurrent_kernel.shape[0])

    @property
    def output_size(self) -> int:
        """Of the hidden state: U."""
        return self.units

    def two_biases(self) -> Array:
        """(2, 3U): of the input and of the hidden state, zeros where there is none."""
        both = np.zeros((2, 3 * self.units), self.kernel.dtype)
        if self.bias is not None:
            both[: len(np.atleast_2d(self.bias))] = self.bias
        return both


@dataclass(frozen=True)
class GRUWeights:
    """GRUs on top of each other, in one direction or two.

    Attributes:
        layers: the lowest first; of each the forward GRU, or forward and backward. The layer above
            reads the hidden states of both, forward first.

    Raises:
        ConveyorError: layers that do not fit on each other.
    """

    layers: tuple[tuple[GRUCellWeights, ...], ...]

    def __post_init__(self) -> None:
        below: int | None = None
        for n, layer in enumerate(self.layers):
            forms = [self._form(cell) for cell in layer]
            if len(layer) not in (1, 2) or len(set(forms)) != 1:
                raise lesson(
                    "conveyor.convert",
                    "one GRU a layer, or two of the same sizes and form, forward and backward",
                    f"in layer {n}: {', '.join(map(str, forms))}",
                    "Convert them one by one.",
                )
            if below is not None and layer[0].features != below:
                raise lesson(
                    "conveyor.convert",
                    f"layer {n} to read the {below} hidden states of the layer below",
                    f"a kernel for {layer[0].features} features",
                    "Convert the layers one by one, if something stands between them.",
                )
            below = sum(cell.units for cell in layer)

    @staticmethod
    def _form(cell: GRUCellWeights) -> tuple[Any, ...]:
        shapes = ((name, array.shape) for name, array in cell.arrays().items())
        return (*shapes, f"reset_after={cell.reset_after}")

    @property
    def cells(self) -> Iterable[GRUCellWeights]:
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
        """Whether any GRU has a "bias"."""
        return any(part in cell.arrays() for cell in self.cells)

    def __str__(self) -> str:
        kinds = {1: "", 2: " in two directions"}
        return ", ".join(
            f"{layer[0].features} features to {layer[0].units} units of a GRU{kinds[len(layer)]}"
            for layer in self.layers
        )


def same_grus(a: Any, b: Any) -> bool:
    """Whether two are the same GRUs bit for bit; biases of zeros are none."""
    if not (isinstance(a, GRUWeights) and isinstance(b, GRUWeights)):
        return False
    if [len(layer) for layer in a.layers] != [len(layer) for layer in b.layers]:
        return False
    return all(
        x.reset_after == y.reset_after
        and np.array_equal(x.kernel, y.kernel)
        and np.array_equal(x.recurrent_kernel, y.recurrent_kernel)
        and np.array_equal(x.two_biases(), y.two_biases())
        for x, y in zip(a.cells, b.cells, strict=True)
    )
