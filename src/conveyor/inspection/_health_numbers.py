"""The numbers by which one layer is judged: saturated gates, half-lives, dead units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .._errors import lesson
from .._vocabulary import AnyStateName
from ._extras import extra
from ._health_advice import advise
from ._kinds import kind_in
from ._tree import Booleans, Floats, masked_steps, reads_backward, variables, with_samples

if TYPE_CHECKING:
    from xarray import Dataset

LEFT, RIGHT = 0.1, 0.9  # where Karpathy et al. begin to call a gate saturated
_NOTHING = 1e-3  # of a hidden state that could be 1


@dataclass(frozen=True, eq=False)
class LayerHealth:
    """What `conveyor.health` found in one layer; arrays over its units, (U,) each.

    Attributes:
        path: of the layer in the model.
        class_name: as the user writes it.
        unit: the numbers of the units.
        steps: the number of steps that count, over all samples.
        left_saturated: gate to the share of steps in which it is below 0.1.
        right_saturated: gate to the share of steps in which it is above 0.9.
        half_life: after how many steps half of the cell state is forgotten, of a GRU half of the
            hidden state; inf where nothing is.
        dead: whether the hidden state never leaves 0, or the output gate never opens.
        shut: whether the output gate never opens; of a GRU, which has none, False.
        broken: where NaN or infinity stands first, in words; None where all is finite.
        outside: the gates that leave 0 to 1.
        kind: "LSTM" or "GRU".
    """

    path: str
    class_name: str
    unit: npt.NDArray[Any]
    steps: int
    left_saturated: dict[AnyStateName, Floats]
    right_saturated: dict[AnyStateName, Floats]
    half_life: Floats
    dead: Booleans
    shut: Booleans
    broken: str | None
    outside: tuple[AnyStateName, ...]
    kind: str = "LSTM"

    @property
    def advice(self) -> tuple[str, ...]:
        """A line for each thing that is wrong, with what to do; empty where nothing is."""
        return tuple(advise(self))

    def to_dataset(self) -> Any:
        """The numbers as an `xarray.Dataset` over gate and unit."""

        def by_gate(shares: dict[AnyStateName, Floats]) -> Any:
            return ("gate", "unit"), np.stack([*shares.values()])

        return extra("xarray", "health").Dataset(
            {
                "left_saturated": by_gate(self.left_saturated),
                "right_saturated": by_gate(self.right_saturated),
                "half_life": ("unit", self.half_life, {"units": "steps"}),
                "dead": ("unit", self.dead),
            },
            {"gate": list(self.left_saturated), "unit": self.unit},
            {"layer": self.class_name, "path": self.path, "steps": self.steps},
        )


def measure(layer: Dataset, path: str) -> LayerHealth:
    """The health of one layer of a trace.

    Raises:
        ConveyorError: a gate or the hidden states are missing, or every step is masked.
    """
    where = f'health of "{path}"' if path else "health"
    layer = with_samples(layer)
    counts = ~masked_steps(layer)
    if not counts.any():
        raise lesson(
            where,
            "steps that count",
            f"{counts.size} steps, all of them masked",
            "Trace samples that hold something: the mask is True where a step counts.",
        )
    kind = kind_in(layer)
    left, right = {}, {}
    finite = np.ones_like(counts)
    outside: list[AnyStateName] = []
    half_life = np.empty(layer.sizes["unit"])
    # One at a time: a trace may be larger than memory.
    for gate in kind.gates:
        (array,) = variables(layer, [gate], where)
        values = array[counts]
        finite &= np.isfinite(array).all(axis=-1)
        left[gate], right[gate] = _share(values, values < LEFT), _share(values, values > RIGHT)
        if np.any((values < 0) | (values > 1)):
            outside.append(gate)
        if gate == kind.keeps:
            half_life = _half_life(values)
    shut = left["output_gates"] == 1.0 if "output_gates" in left else np.zeros_like(half_life, bool)
    if "hidden_states" in layer and "projection" in layer["hidden_states"].dims:
        hidden = layer["hidden_states"].transpose("sample", "time", "projection").to_numpy()
        silent = shut  # what a unit has to say is in all numbers of the projection
    else:
        (hidden,) = variables(layer, ["hidden_states"], where)
        silent = shut | (np.abs(hidden[counts]).max(axis=0) < _NOTHING)
    finite &= np.isfinite(hidden).all(axis=-1)
    return LayerHealth(
        path=path,
        class_name=str(layer.attrs.get("layer", kind.name)),
        unit=layer["unit"].to_numpy(),
        steps=int(counts.sum()),
        left_saturated=left,
        right_saturated=right,
        half_life=half_life,
        dead=silent,
        shut=shut,
        broken=_first(layer, counts & ~finite, where),
        outside=tuple(outside),
        kind=kind.name,
    )


def _share(values: Floats, are: Booleans) -> Floats:
    """(steps, U) to (U,); NaN where a value is NaN, for it is on no side."""
    share: Floats = np.where(np.isnan(values).any(axis=0), np.nan, are.mean(axis=0))
    return share


def _half_life(forget: Floats) -> Floats:
    """n with f^n = 1/2, for the geometric mean f of the gate that keeps."""
    with np.errstate(divide="ignore"):
        lost = -np.log(np.abs(forget)).mean(axis=0)
        # Where a gate above 1 makes the memory grow, nothing is forgotten either.
        life: Floats = np.log(2) / np.where(lost < 0, 0.0, np.abs(lost))
    return life


def _first(layer: Dataset, broken: Booleans, where: str) -> str | None:
    if not broken.any():
        return None
    sample = int(np.flatnonzero(broken.any(axis=1))[0])
    steps = np.flatnonzero(broken[sample])
    step = steps[-1 if reads_backward(layer, where) else 0]
    return f"sample {layer['sample'].values[sample]}, time {layer['time'].values[step]}"
