"""What a page keeps of a layer when it may not grow too large, and what it leaves out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .._vocabulary import AnyStateName
from ._packing import Bits, pack
from ._report_layers import TracedLayer

# One sample in so many, packed, tells how large the rest will be.
_PROBED = 6
# The memory is searched in all samples: it comes first, the gates share what remains.
_FOR_MEMORY = 0.65
# Units go before samples do, down to this many.
_FEWEST_UNITS = 32


@dataclass(frozen=True)
class Plan:
    """What is kept of one layer.

    Attributes:
        bits: of a number: 16 give four digits, 8 give two.
        units: (kept,) their numbers, in ascending order.
        samples: for each state how many samples are kept, the first ones. The memory is kept
            for the most: those are the samples that the page shows.
    """

    bits: Bits
    units: npt.NDArray[np.int64]
    samples: dict[AnyStateName, int]


def plan(layer: TracedLayer, budget: float) -> Plan:
    """The most that fits into `budget` bytes of the page.

    First the numbers become less exact, 16 bits to 8. Then the other states are kept for fewer
    samples than the memory; then the units that vary least are left out; samples at last.
    """
    samples, _, units = layer.shape
    everything = np.arange(units)
    full: dict[AnyStateName, int] = dict.fromkeys(layer.states, samples)
    bits: Bits
    for bits in (16, 8):
        cost = _cost(layer, bits)  # of each state with everything in it
        if sum(cost.values()) <= budget:
            return Plan(bits, everything, full)
    memory = cost.pop(layer.memory)
    share = budget * _FOR_MEMORY if cost else budget
    kept = min(units, max(min(units, _FEWEST_UNITS), int(units * share / memory)))
    memory *= kept / units
    shown = samples if memory <= share else max(1, int(samples * share / memory))
    rest = (sum(cost.values()) or 1) * kept / units
    detailed = int(samples * (budget - memory * shown / samples) / rest)
    counts = dict.fromkeys(cost, min(shown, max(1, detailed)))
    return Plan(8, _most_varied(layer, kept), {layer.memory: shown, **counts})


def _cost(layer: TracedLayer, bits: Bits) -> dict[AnyStateName, float]:
    samples = layer.shape[0]
    probed = np.unique(np.linspace(0, samples - 1, _PROBED).astype(int))
    return {
        name: len(pack(np.moveaxis(states[probed], 1, 2), bits).data) * samples / len(probed)
        for name, states in layer.states.items()
    }


def _most_varied(layer: TracedLayer, kept: int) -> npt.NDArray[np.int64]:
    states = np.asarray(layer.states[layer.memory], dtype=np.float64)
    finite = np.isfinite(states)
    count = np.maximum(finite.sum((0, 1)), 1)
    mean = np.where(finite, states, 0).sum((0, 1)) / count
    variance = (np.where(finite, states - mean, 0) ** 2).sum((0, 1)) / count
    return np.sort(np.argsort(-variance, kind="stable")[:kept])


def left_out(layer: TracedLayer, chosen: Plan) -> list[str]:
    """In words, for the reader: what of this layer is not in the page."""
    samples, _, units = layer.shape
    said = []
    if len(chosen.units) < units:
        said.append(
            f"{len(chosen.units)} of its {units} units are here: those whose {layer.memory} "
            "vary most."
        )
    shown = chosen.samples[layer.memory]
    if shown < samples:
        said.append(f"The first {shown} of {samples} samples are here.")
    fewer = {name: count for name, count in chosen.samples.items() if count < shown}
    if fewer:
        first = next(iter(fewer.values()))
        said.append(
            f"{layer.memory} are here for all {shown} samples, {', '.join(fewer)} for the "
            f"first{f' {first}' if first > 1 else ''}."
        )
    return said
