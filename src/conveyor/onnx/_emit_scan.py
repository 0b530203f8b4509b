"""An LSTM as a loop over its equations, for what the operator LSTM does not have.

Layer normalisation, a projection, zoneout, a bound of the cell state, the output transform, other
activations; and cell states or gates where the cell state takes part in the gates.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .._engines._variant import EPSILON
from ..layers._variant import variant_of
from ._builder import Builder
from ._emit_activations import activate
from ._lstm_node import Refuse, check_float32, rows_of, to_numpy, unknown_activation
from ._normalised import normalised
from ._over_time import over_time

_GATES = ("input", "forget", "candidate", "output")
# What a step may keep, in its order.
_KEPT = (
    "hidden_states",
    "cell_states",
    "input_gates",
    "forget_gates",
    "candidates",
    "output_gates",
)
_WEIGHTS = (
    *("kernel", "recurrent_kernel", "bias", "output_kernel", "output_bias", "projection_kernel"),
    *("cell_scale", "cell_shift"),
)


def emit_scan(
    build: Builder,
    cell: Any,
    x: str,
    mask: str | None,
    before: list[str],
    names: tuple[str, ...],
    path: str,
    refuse: Refuse,
) -> dict[str, str]:
    """Hidden states, both last states, and of the other states those in `names`.

    Args:
        build: the graph.
        cell: of the layer.
        x: (B, T, F), in the order in which the layer reads, as all others.
        mask: (B, T), or None.
        before: names of the states before the first step, "" for zeros.
        names: of states.
        path: of the layer.
        refuse: makes the error.
    """
    check_float32(cell, path, refuse)
    step = _Step(build, cell, path, refuse)
    rows = {step.of_inputs(x): "float32"}
    if mask is not None:
        rows[build("Unsqueeze", mask, build.integers(2))] = "bool"
    kept = [name for name in _KEPT if name in names or name == "hidden_states"]

    def one(states: list[str], row: list[str]) -> tuple[list[str], list[str]]:
        (h, c), (z_x, *counts) = states, row
        after = step(h, c, z_x, *counts)
        return [after["hidden_states"], after["cell_states"]], [after[name] for name in kept]

    start = [rows_of(build, s, x, int(n)) for s, n in zip(before, cell.state_size, strict=True)]
    last, every = over_time(build, one, start, rows, path)
    return dict(zip(("hidden_state", "cell_state", *kept), (*last, *every), strict=True))


class _Step:
    """The nodes of one time step, in the symbols of docs/variants.md."""

    def __init__(self, build: Builder, cell: Any, path: str, refuse: Refuse) -> None:
        self._build, self._cell, self._variant = build, cell, variant_of(cell)
        self._path, self._refuse = path, refuse
        self._units = int(cell.units)
        self._names = _GATES[4 - self._variant.gates :]  # coupled gates have no input gate
        self._weights = {
            name: build.constant(to_numpy(weight), f"{path}/{name}")
            for name in _WEIGHTS
            if (weight := getattr(cell, name, None)) is not None
        }
        self._peepholes: dict[str, str] = {}
        if self._variant.peephole:
            names = [name for name in self._names if name != "candidate"]
            parts = np.split(to_numpy(cell.peephole_kernel), len(names))
            self._peepholes = {n: build.constant(a) for n, a in zip(names, parts, strict=True)}
        self._scales: list[str] = []  # one, or those of x W and h' R
        if set(self._variant.norms) & {"gates", "joint"}:
            rows = np.atleast_2d(to_numpy(cell.gate_scale))
            self._scales = [build.constant(row, f"{path}/gate_scale") for row in rows]

    def of_inputs(self, x: str) -> str:
        """What all steps make of x at once, (B, T, G * U)."""
        z = self._build("MatMul", x, self._weights["kernel"])
        if len(self._scales) == 1:
            return z  # the bias comes after the normalisation
        if self._scales:
            z = self._build("Mul", self._normalised(z, len(self._names)), self._scales[0])
        return self._shifted(z, "bias")

    def __call__(self, h: str, c: str, z_x: str, counts: str | None = None) -> dict[str, str]:
        """All states after the step, (B, ..)."""
        build, v = self._build, self._variant
        z = self._preactivations(z_x, build("MatMul", h, self._weights["recurrent_kernel"]))
        f, g = self._gate("forget", z, c), self._gate("candidate", z, c)
        i = build("Sub", build.number(1.0), f) if v.coupled else self._gate("input", z, c)
        new_c = build("Add", build("Mul", f, c), build("Mul", i, g))
        new_c = self._within(new_c, v.cell_clip)
        o = self._gate("output", z, new_c)
        new = self._mean(v.zoneout[0], h, self._out(o, new_c)), self._mean(v.zoneout[1], c, new_c)
        gates = [i, f, g, o]
        if counts is not None:
            new = build("Where", counts, new[0], h), build("Where", counts, new[1], c)
            gates = [build("Where", counts, value, build.number(0.0)) for value in gates]
        return dict(zip(_KEPT, (*new, *gates), strict=True))

    def _preactivations(self, z_x: str, z_h: str) -> dict[str, str]:
        """By gate, without peepholes."""
        build, count = self._build, len(self._names)
        if len(self._scales) == 2:
            z_h = build("Mul", self._normalised(z_h, count), self._scales[1])
        z = build("Add", z_x, z_h)
        if len(self._scales) == 1:
            each = [self._normalised(part, 1) for part in self._split(z)]
            z = self._shifted(
                build("Mul", build("Concat", *each, axis=-1), self._scales[0]), "bias"
            )
        return dict(zip(self._names, self._split(z), strict=True))

    def _gate(self, name: str, z: dict[str, str], c: str) -> str:
        value = z[name]
        if name in self._peepholes:
            peeped = self._build("Mul", self._peepholes[name], c)
            value = self._build("Add", value, peeped)
        cell = self._cell
        function = cell.activation if name == "candidate" else cell.recurrent_activation
        return self._activate(function, self._within(value, self._variant.clip))

    def _out(self, o: str, c: str) -> str:
        build, weights = self._build, self._weights
        if "cell_scale" in weights:
            scaled = build("Mul", self._normalised(c, 1), weights["cell_scale"])
            c = self._shifted(scaled, "cell_shift")
        if "output_kernel" in weights:
            c = self._shifted(build("MatMul", c, weights["output_kernel"]), "output_bias")
        function = self._variant.output_activation or self._cell.activation
        h = build("Mul", o, self._activate(function, c))
        projection = weights.get("projection_kernel")
        return h if projection is None else build("MatMul", h, projection)

    def _mean(self, part: float, old: str, new: str) -> str:
        """Of what zoneout keeps, and does not."""
        if not part:
            return new
        build = self._build
        stays = build("Mul", build.number(part), old)
        return build("Add", stays, build("Mul", build.number(1 - part), new))

    def _shifted(self, z: str, name: str) -> str:
        shift = self._weights.get(name)
        return z if shift is None else self._build("Add", z, shift)

    def _normalised(self, z: str, gates: int) -> str:
        return normalised(self._build, z, gates * self._units, EPSILON)

    def _split(self, z: str) -> list[str]:
        count = len(self._names)
        sizes = self._build.integers(*[self._units] * count)
        return self._build.many("Split", [z, sizes], count, "gate", axis=-1)

    def _within(self, z: str, bound: float | None) -> str:
        if bound is None:
            return z
        return self._build("Clip", z, *(self._build.number(b) for b in (-bound, bound)))

    def _activate(self, function: Any, z: str) -> str:
        made = activate(self._build, function, z)
        if made is None:
            raise unknown_activation(self._cell, function, self._path, self._refuse)
        return made
