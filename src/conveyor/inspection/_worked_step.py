"""One step of an LSTM, worked out number by number in float64."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ._layer_norm import normalise
from ._worked_inputs import Numbers, apply

Weights = dict[str, tuple[Numbers, Numbers | None]]


class Worked(NamedTuple):
    """What a step computes, under the names of `WorkedExample`."""

    preactivations: dict[str, Numbers]
    gates: dict[str, Numbers]
    kept: Numbers
    added: Numbers
    cell_state: Numbers
    activated: Numbers
    hidden_state: Numbers
    more: dict[str, Numbers]


def work_out(given: dict[str, Any], weights: Weights, x: Numbers, h: Numbers, c: Numbers) -> Worked:
    """The step, in the order in which `conveyor.LSTM` does it.

    Args:
        given: what `arguments_of` says.
        weights: W and b of each gate.
        x, h, c: (F,), (H,) and (U,), what it begins with.
    """
    more: dict[str, Numbers] = {}
    z = _normalised(given, weights, x, h, more)
    p, clip = peepholes_of(given.get("peephole"), weights), given.get("clip")
    gates: dict[str, Numbers] = {}

    def work_out_gate(gate: str, seen: Numbers) -> None:
        if gate in p:
            more[f"{gate}_peephole"] = p[gate] * seen
            z[gate] = z[gate] + more[f"{gate}_peephole"]
        if clip is not None:
            more[f"{gate}_unclipped"] = z[gate]
            z[gate] = np.clip(z[gate], -clip, clip)
        function = given["activation" if gate == "candidate" else "recurrent_activation"]
        gates[gate] = apply(function, z[gate])

    for gate in weights:
        if gate != "output":
            work_out_gate(gate, c)
    if given.get("coupled"):
        gates = {"input": 1 - gates["forget"], **gates}
    kept, added = gates["forget"] * c, gates["input"] * gates["candidate"]
    cell_state, bound = kept + added, given.get("cell_clip")
    if bound is not None:
        more["unclipped_cell_state"] = cell_state
        cell_state = np.clip(cell_state, -bound, bound)
    work_out_gate("output", cell_state)
    activated, hidden_state = _way_out(given, gates["output"], cell_state, more)
    cell_state = _zoned_out(given, "cell", cell_state, c, more)
    hidden_state = _zoned_out(given, "hidden", hidden_state, h, more)
    return Worked(z, gates, kept, added, cell_state, activated, hidden_state, more)


def peepholes_of(packed: Numbers | None, weights: Weights) -> dict[str, Numbers]:
    """(U,) of each gate that has one: all of `weights` but the candidate."""
    if packed is None:
        return {}
    gates = [gate for gate in weights if gate != "candidate"]
    return dict(zip(gates, np.split(packed, len(gates)), strict=True))


def _normalised(
    given: dict[str, Any], weights: Weights, x: Numbers, h: Numbers, more: dict[str, Numbers]
) -> dict[str, Numbers]:
    """z of each gate: W [h, x] + b, or what a layer normalisation makes of it."""
    joined, scale = np.concatenate([h, x]), given.get("gate_scale")
    z = {gate: np.zeros(len(W)) + (0 if b is None else b) for gate, (W, b) in weights.items()}
    if scale is None:
        return {gate: W @ joined + z[gate] for gate, (W, _) in weights.items()}
    scales = dict(zip(weights, np.split(scale, len(weights), axis=-1), strict=True))
    if scale.ndim == 1:
        more |= {f"{gate}_product": W @ joined for gate, (W, _) in weights.items()}
        for gate, s in scales.items():
            more[f"{gate}_normalised"] = normalise(more[f"{gate}_product"]).values
            z[gate] = more[f"{gate}_normalised"] * s + z[gate]
        return z
    of_x, of_h = slice(len(h), None), slice(len(h))
    for n, (of, columns) in enumerate((("of_x", of_x), ("of_h", of_h))):
        products = [W[:, columns] @ joined[columns] for W, _ in weights.values()]
        values = np.split(normalise(np.concatenate(products)).values, len(weights))
        for gate, product, value in zip(weights, products, values, strict=True):
            more[f"{gate}_product_{of}"], more[f"{gate}_normalised_{of}"] = product, value
            z[gate] = z[gate] + value * scales[gate][n]
    return z


def _way_out(
    given: dict[str, Any], o: Numbers, c: Numbers, more: dict[str, Numbers]
) -> tuple[Numbers, Numbers]:
    """From the output gate and the cell state: what is shown of it, and h before zoneout."""
    if given.get("cell_scale") is not None:
        c = normalise(c).values * given["cell_scale"] + given["cell_shift"]
        more["normalised"] = c
    if given.get("output_kernel") is not None:
        c = c @ given["output_kernel"] + given["output_bias"]
        more["transformed"] = c
    psi = given.get("output_activation")
    activated = apply(given["activation"] if psi is None else psi, c)
    if given.get("projection_kernel") is None:
        return activated, o * activated
    more["let_out"] = o * activated
    return activated, more["let_out"] @ given["projection_kernel"]


def _zoned_out(
    given: dict[str, Any], which: str, new: Numbers, before: Numbers, more: dict[str, Numbers]
) -> Numbers:
    part = given.get(f"{which}_zoneout")
    if not part:
        return new
    more[f"new_{which}_state"] = new
    mean: Numbers = part * before + (1 - part) * new
    return mean


def as_skipped(worked: Worked, h: Numbers, c: Numbers) -> Worked:
    """The same of a masked step, which computes none of it."""
    nothing: dict[str, Any] = {
        name: {of: np.full_like(a, np.nan) for of, a in numbers.items()}
        if isinstance(numbers, dict)
        else np.full_like(numbers, np.nan)
        for name, numbers in worked._asdict().items()
    }
    return Worked(**nothing)._replace(cell_state=c, hidden_state=h)
