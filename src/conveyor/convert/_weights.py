"""The weights of LSTMs, in one form, whichever framework they come from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from .._errors import ConveyorError, lesson
from ..ops._variants import check_variant

Array = np.ndarray

GATE_ORDER = ("input", "forget", "candidate", "output")
SETTINGS: dict[str, Any] = {"coupled": False, "clip": None, "cell_clip": None, "zoneout": (0, 0)}

# What not every side has, and how errors call it.
PARTS = {
    "projection": "a projection",
    "peepholes": "peepholes",
    "output_kernel": "an output transform",
    "gate_scale": "layer normalisation of the gates",
    "cell_scale": "layer normalisation of the cell state",
    "coupled": "coupled gates",
    "clip": "clip",
    "cell_clip": "cell_clip",
    "zoneout": "zoneout",
}


@dataclass(frozen=True)
class CellWeights:
    """One LSTM that reads in one direction. Gates in the order input, forget, candidate, output.

    What is beyond the plain LSTM is as `conveyor.LSTM` has it (docs/variants.md). G is 4, or 3
    with coupled gates, which have no input gate of their own.

    Attributes:
        kernel: (F, G * U).
        recurrent_kernel: (U, G * U); (P, G * U) with a projection.
        bias: (G * U,), the sum where a framework has two; None for none.
        projection: (U, P), what the hidden state is multiplied with (Sak et al. 2014), or None.
        peepholes: (G - 1, U), from the cell state to the input, forget and output gate (Gers &
            Schmidhuber 2000), or None.
        output_kernel, output_bias: (U, U) and (U,), of the output transform, or None.
        gate_scale: of layer normalisation, (G * U,) gate by gate or (2, G * U) of all gates at
            once, or None.
        cell_scale, cell_shift: (U,), of layer normalisation of the cell state, or None.
        coupled: the input gate is one minus the forget gate.
        clip: bound of what enters gates and candidate, or None.
        cell_clip: bound of the cell state, or None.
        zoneout: the parts of hidden and cell state that stay, in the mean.
    """

    kernel: Array
    recurrent_kernel: Array
    bias: Array | None = None
    projection: Array | None = None
    peepholes: Array | None = None
    output_kernel: Array | None = None
    output_bias: Array | None = None
    gate_scale: Array | None = None
    cell_scale: Array | None = None
    cell_shift: Array | None = None
    coupled: bool = False
    clip: float | None = None
    cell_clip: float | None = None
    zoneout: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        self._check_settings()
        object.__setattr__(self, "zoneout", tuple(self.zoneout))
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

    def _check_settings(self) -> None:
        pair = isinstance(self.zoneout, (tuple, list)) and len(self.zoneout) == 2
        if not pair or not isinstance(self.coupled, bool):
            raise lesson(
                "conveyor.convert",
                "coupled to be True or False, and zoneout the pair of hidden and cell state",
                f"coupled={self.coupled!r}, zoneout={self.zoneout!r}",
                "Write coupled=False, zoneout=(0.0, 0.0).",
            )
        hidden, cell = self.zoneout
        check_variant(
            {
                "clip": self.clip,
                "cell_clip": self.cell_clip,
                "hidden_zoneout": hidden,
                "cell_zoneout": cell,
                "output_kernel": self.output_kernel,
                "output_bias": self.output_bias,
                "cell_scale": self.cell_scale,
                "cell_shift": self.cell_shift,
            },
            "conveyor.convert",
        )

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        units, size = self.recurrent_kernel.shape[-1] // self.gates, self.recurrent_kernel.shape[0]
        features, wide = self.kernel.shape[0], self.gates * units
        # Where nothing is projected, the hidden state has as many entries as there are units.
        size = size if self.projection is not None else units
        joint = self.gate_scale is not None and self.gate_scale.ndim == 2
        return {
            "kernel": (features, wide),
            "recurrent_kernel": (size, wide),
            "bias": (wide,),
            "projection": (units, size),
            "peepholes": (self.gates - 1, units),
            "output_kernel": (units, units),
            "output_bias": (units,),
            "gate_scale": (2, wide) if joint else (wide,),
            "cell_scale": (units,),
            "cell_shift": (units,),
        }

    def arrays(self) -> dict[str, Array]:
        """Those that are there, by name."""
        named = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in SETTINGS}
        return {name: array for name, array in named.items() if array is not None}

    def settings(self) -> dict[str, Any]:
        """The numbers and switches that are not neutral, by name."""
        named = {name: getattr(self, name) for name in SETTINGS}
        return {name: value for name, value in named.items() if value != SETTINGS[name]}

    @property
    def gates(self) -> int:
        """G: how many the kernels hold, the candidate among them."""
        return 3 if self.coupled else 4

    @property
    def features(self) -> int:
        """F."""
        return int(self.kernel.shape[0])

    @property
    def units(self) -> int:
        """U."""
        return int(self.kernel.shape[1]) // self.gates

    @property
    def output_size(self) -> int:
        """Of the hidden state: U, or P with a projection."""
        return int(self.recurrent_kernel.shape[0])

    def uncoupled(self) -> CellWeights:
        """The same numbers with an input gate of its own: 1 - sigmoid(z) is sigmoid(-z).

        Raises:
            ConveyorError: gates that are normalised, over one fewer than there would be.
        """
        if not self.coupled:
            return self
        if self.gate_scale is not None:
            raise no_place(
                "coupled",
                "an LSTM with an input gate of its own and normalised gates",
                'Write save(source, "weights.safetensors") to keep them.',
            )
        wide = {
            name: np.concatenate([-array[..., : self.units], array], axis=-1)
            for name, array in self.arrays().items()
            if name in ("kernel", "recurrent_kernel", "bias")
        }
        if self.peepholes is not None:
            wide["peepholes"] = np.concatenate([-self.peepholes[:1], self.peepholes])
        return replace(self, coupled=False, **wide)  # type: ignore[arg-type]


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
        shapes = tuple((name, array.shape) for name, array in cell.arrays().items())
        return shapes + tuple(cell.settings().items())

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
        """Whether any LSTM has a "bias", "peepholes" or another of the attributes."""
        return any(part in cell.arrays() or part in cell.settings() for cell in self.cells)

    def settings(self) -> list[dict[str, Any]]:
        """Of each layer, both directions of which have the same."""
        return [layer[0].settings() for layer in self.layers]

    def uncoupled(self) -> LSTMWeights:
        """The same numbers where the input gate is no longer one minus the forget gate.

        For a side without coupled gates; what learns there learns both apart.
        """
        return LSTMWeights(tuple(tuple(c.uncoupled() for c in layer) for layer in self.layers))

    def __str__(self) -> str:
        kinds = {1: "", 2: " in two directions"}
        return ", ".join(
            f"{layer[0].features} features to {layer[0].units} units{kinds[len(layer)]}"
            for layer in self.layers
        )


def no_place(part: str, where: str, write: str) -> ConveyorError:
    """For a variant that the other side does not have."""
    got = PARTS.get(part, part)
    return lesson("conveyor.convert", f"weights that {where} has a place for", got, write)


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
