"""What the script of the report reads: the layers of a trace as JSON and packed numbers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from .._vocabulary import AnyStateName
from ._kinds import ALL_GATES
from ._packing import Bits, pack
from ._palette import Scale
from ._report_layers import TracedLayer
from ._report_plan import Plan, left_out
from ._seriation import order_of_units

# The order of the units is found in so many steps at most: more change little, and take seconds.
_STEPS_TO_ORDER_BY = 2000


@dataclass
class Blocks:
    """Packed arrays, each in a `<script>` of its own that the page unpacks when it needs it."""

    data: list[str] = field(default_factory=list)

    def add(self, array: npt.NDArray[Any], bits: Bits) -> dict[str, Any]:
        """Keep (samples, units, steps); what the page must know to read it."""
        packed = pack(array, bits)
        return {"block": self.keep(packed.data), "bits": bits, "scales": list(packed.scales)}

    def keep(self, data: str) -> int:
        """Keep what is packed already; the number of its block."""
        self.data.append(data)
        return len(self.data) - 1

    def html(self) -> str:
        """The elements that hold them."""
        return "".join(
            f'<script type="text/plain" id="block-{number}">{data}</script>\n'
            for number, data in enumerate(self.data)
        )


def layer_data(
    layer: TracedLayer, chosen: Plan, blocks: Blocks, texts: list[list[list[str]]]
) -> dict[str, Any]:
    """One layer for the page's script; its numbers go to `blocks`, its labels to `texts`."""
    shown = chosen.samples[layer.memory]
    rows = chosen.units[order_of_units(_to_order_by(layer, chosen))]
    labels = None if layer.labels is None else layer.labels[:shown]
    if labels is not None and labels not in texts:  # layers that read the same text share it
        texts.append(labels)
    return {
        "path": layer.path,
        "direction": layer.direction,
        "steps": layer.shape[1],
        "units": layer.shape[2],
        "rows": [layer.numbers[unit] for unit in rows],
        "lengths": layer.lengths[:shown],
        "textOf": None if labels is None else texts.index(labels),
        "times": layer.times,
        "memory": layer.memory,
        "states": {
            name: {
                **_scale_of_colours(name, layer.states[name]),
                "about": layer.about(name),
                "samples": count,
                **blocks.add(np.moveaxis(layer.states[name][:count][..., rows], 1, 2), chosen.bits),
            }
            for name, count in ((name, chosen.samples[name]) for name in layer.states)
        },
        "change": blocks.add(layer.change_per_step()[:shown, np.newaxis], 16),
        "leftOut": left_out(layer, chosen),
    }


def _to_order_by(layer: TracedLayer, chosen: Plan) -> npt.NDArray[Any]:
    """(steps, kept) of as many samples as it takes, spread over all of them."""
    samples, steps, _ = layer.shape
    wanted = max(1, min(samples, _STEPS_TO_ORDER_BY // steps))
    spread = np.unique(np.linspace(0, samples - 1, wanted).astype(int))
    states = layer.states[layer.memory][spread][..., chosen.units]
    return np.concatenate([one[: layer.lengths[i]] for i, one in zip(spread, states, strict=True)])


def _scale_of_colours(name: AnyStateName, array: npt.NDArray[Any]) -> dict[str, Any]:
    finite = np.asarray(array, dtype=np.float64)
    finite = finite[np.isfinite(finite)]
    largest = float(np.max(np.abs(finite), initial=0.0))
    is_gate = name in ALL_GATES and float(np.min(finite, initial=0.0)) >= 0 and largest <= 1
    palette: Scale = "gate" if is_gate else "signed"
    # A few units far out would leave the rest without colour: they share the end of the scale.
    usual = float(np.quantile(np.abs(finite), 0.995)) if finite.size else 0.0
    high = 1.0 if is_gate or not usual else float(f"{usual:.2g}")
    return {
        "palette": palette,
        "low": 0.0 if is_gate else -high,
        "high": high,
        "clipped": not is_gate and largest > high,
    }
