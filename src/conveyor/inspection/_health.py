"""`health(trace)`: whether gates move, how long units remember, and what to do if they do not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType

from .._errors import lesson
from ._health_numbers import LayerHealth, measure
from ._health_text import as_html, as_table
from ._printed import Printed
from ._tree import layers_of

if TYPE_CHECKING:
    from xarray import Dataset, DataTree


@dataclass(frozen=True, repr=False)
class Health(Printed):
    """The health of every LSTM and GRU in a trace: print it, or let a notebook show it.

    Attributes:
        layers: path of the layer to its numbers and its advice.
    """

    layers: dict[str, LayerHealth]

    def to_dataset(self, path: str | None = None) -> Any:
        """The numbers of one layer as an `xarray.Dataset`: `left_saturated` and
        `right_saturated` (gate, unit), `half_life` and `dead` (unit).

        Raises:
            ConveyorError: no such layer, or none named where there are several.
        """
        return self.layer(path).to_dataset()

    def layer(self, path: str | None = None) -> LayerHealth:
        """One layer by its path; the only one without."""
        if path is None and len(self.layers) == 1:
            return next(iter(self.layers.values()))
        if path not in self.layers:
            raise lesson(
                "health",
                f"the path of one layer: {', '.join(self.layers)}",
                repr(path),
                f'Write layer="{next(iter(self.layers))}".',
            )
        return self.layers[path]

    def __rich__(self) -> RenderableType:
        return as_table(self.layers)

    def __repr__(self) -> str:  # a screen full of arrays would tell nothing
        return str(self)

    def _repr_html_(self) -> str:
        return as_html(self.layers)


def health(trace: DataTree | Dataset) -> Health:
    """Look for gates that are stuck, units that are dead, and memory that does not last.

    For every unit, over all samples and all steps that count:

    - *left-saturated*: the share of steps in which a gate is below 0.1; *right-saturated*: above
      0.9. Near 0 on both sides the gate moves freely; near 1 on one side it is stuck.
    - *half-life*: the steps after which half of the cell state is forgotten, n with f^n = 1/2 for
      the geometric mean f of the forget gate; inf where nothing is ever forgotten, 0 where the
      gate is exactly 0 at some step.
    - *dead*: the hidden state stays within 0.001 of zero in every step, or the output gate is
      below 0.1 in every step.

    A GRU has update and reset gates. What it forgets is its hidden state, and the update gate says
    how much of it stays: the half-life is that of the update gate, and a unit whose update gate is
    right-saturated in more than 99 % of steps stores next to nothing.

    Advice is given where a layer has NaN or infinity, gates that leave 0 to 1, more than 90 % of
    all gate values saturated, input gates left-saturated in more than 99 % of steps, forget gates
    so in at least half of the units, no unit with a half-life of one step, or dead units. Right-
    saturated forget gates are no fault: they are memory.

    Args:
        trace: what `conveyor.trace` gives, or one layer of it. Take real samples, a hundred or
            more; of a few, chance speaks.

    Returns:
        What `print` shows as tables and a notebook too; `.layers` has the numbers, and
        `.to_dataset(path)` gives them as an `xarray.Dataset`.

    Raises:
        ConveyorError: no trace, or one without the gates and the hidden states; every step is
            masked.

    Saturation after Karpathy, Johnson & Fei-Fei 2015, "Visualizing and Understanding Recurrent
    Networks", section 4.2.

    >>> import numpy as np, xarray as xr
    >>> def gate(first, second):
    ...     return ("sample", "time", "unit"), np.full((1, 8, 2), [first, second])
    >>> layer = xr.Dataset({
    ...     "input_gates": gate(0.5, 0.01), "forget_gates": gate(0.5, 0.95),
    ...     "output_gates": gate(0.5, 0.5), "hidden_states": gate(0.2, 0.2),
    ... })
    >>> found = health(layer).to_dataset()
    >>> found.left_saturated.sel(gate="input_gates").values
    array([0., 1.])
    >>> found.half_life.values.round(1)
    array([ 1. , 13.5])
    >>> print(*health(layer).layer().advice)  # doctest: +ELLIPSIS
    The input gate of 1 of 2 units (1) is below 0.1 in more than 99% of steps: ...
    """
    return Health(
        {path: measure(layer, path) for path, layer in layers_of(trace, "health").items()}
    )
