"""Every LSTM of the literature: cases, and their equations in NumPy, step by step in float64.

for variant in VARIANTS:
    arguments = variant.arguments("float64")
    expected = reference(**arguments)
    actual = ops.lstm(**arguments, outputs=STATE_NAMES)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cases import Case
from conveyor._vocabulary import StateName

Array = np.ndarray


@dataclass(frozen=True)
class Variant:
    """A case of the plain LSTM, and what it gets besides."""

    name: str
    case: Case
    parts: tuple[str, ...]  # arrays: "peephole", "output", "projection", "gates", ...
    options: dict[str, Any] = field(default_factory=dict)

    def arguments(self, dtype: str = "float64") -> dict[str, Any]:
        arguments = self.case.arguments(dtype)
        rng = np.random.default_rng(11)
        units = self.case.units
        batch, steps = self.case.batch, self.case.time_steps
        gates, hidden = 4, units
        if "projection" in self.parts:
            hidden = max(1, units - 2)
            arguments["projection_kernel"] = _draw(rng, (units, hidden), dtype, units)
            for name in ("recurrent_kernel", "hidden_state", "recurrent_dropout_mask"):
                if arguments[name] is not None:
                    axis = 0 if name == "recurrent_kernel" else -1
                    arguments[name] = np.take(arguments[name], range(hidden), axis)
        if self.options.get("coupled"):
            gates = 3
            for name in ("kernel", "recurrent_kernel", "bias"):
                if arguments[name] is not None:
                    arguments[name] = arguments[name][..., units:]
        draws = {
            "peephole": {"peephole": ((gates - 1) * units,)},
            "output": {"output_kernel": (units, units), "output_bias": (units,)},
            "gates": {"gate_scale": (gates * units,)},
            "joint": {"gate_scale": (2, gates * units)},
            "cell": {"cell_scale": (units,), "cell_shift": (units,)},
        }
        for part in self.parts:
            for name, shape in draws.get(part, {}).items():
                arguments[name] = _draw(rng, shape, dtype)
        for name, size in (("hidden_zoneout", hidden), ("cell_zoneout", units)):
            if name in self.parts:
                arguments[name] = rng.random((batch, steps, size)) < 0.4
        return {**arguments, **self.options}

    def __str__(self) -> str:
        return self.name


def _draw(rng: np.random.Generator, shape: tuple[int, ...], dtype: str, summed: int = 1) -> Array:
    return (rng.normal(size=shape) / np.sqrt(summed)).astype(dtype)


_TINY = Case(name="tiny", initial_states=True)
_MASKED = Case(
    name="masked",
    batch=7,
    time_steps=6,
    units=5,
    mask="holes",
    initial_states=True,
    resets=True,
    dropout="shared",
    recurrent_dropout="per_gate",
)
_ODD = Case(
    name="odd",
    batch=13,
    time_steps=7,
    features=9,
    units=37,
    mask="right",
    initial_states=True,
    go_backwards=True,
    recurrent_dropout="shared",
)
_ONE_ROW = Case(name="one_row", batch=1, time_steps=9, units=19)
CASES = (_TINY, _MASKED, _ODD, _ONE_ROW)

_PARTS: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "plain": ((), {}),
    "peephole": (("peephole",), {}),
    "coupled": ((), {"coupled": True}),
    "clip": ((), {"clip": 0.7}),
    "cell_clip": ((), {"cell_clip": 0.5}),
    "output_activation": ((), {"output_activation": "relu"}),
    "zoneout": (("hidden_zoneout", "cell_zoneout"), {}),
    "zoneout_mean": ((), {"hidden_zoneout": 0.3, "cell_zoneout": 0.2}),
    "coupled_peephole": (("peephole",), {"coupled": True}),
    "peephole_clips": (("peephole",), {"clip": 0.9, "cell_clip": 0.6}),
    "peephole_zoneout": (("peephole", "cell_zoneout"), {"hidden_zoneout": 0.2}),
    "clip_zoneout": (("hidden_zoneout", "cell_zoneout"), {"cell_clip": 0.5}),
    "relu_hard_sigmoid_peephole": (
        ("peephole",),
        {"activation": "relu", "recurrent_activation": "hard_sigmoid"},
    ),
    "all_of_the_gates": (
        ("peephole", "hidden_zoneout"),
        {
            "coupled": True,
            "clip": 1.1,
            "cell_clip": 0.8,
            "cell_zoneout": 0.1,
            "output_activation": "sigmoid",
        },
    ),
    "output": (("output",), {}),
    "projection": (("projection",), {}),
    "gates": (("gates",), {}),
    "joint": (("joint",), {}),
    "cell": (("cell",), {}),
    "joint_cell": (("joint", "cell"), {}),
    "output_projection": (("output", "projection", "peephole"), {"cell_clip": 0.6}),
    "projection_zoneout": (("projection", "hidden_zoneout", "cell_zoneout"), {}),
    "gates_cell_coupled": (("gates", "cell", "peephole"), {"coupled": True, "clip": 1.2}),
    "everything": (
        ("joint", "cell", "output", "projection", "peephole", "hidden_zoneout", "cell_zoneout"),
        {"coupled": True, "clip": 1.2, "cell_clip": 0.8, "output_activation": "sigmoid"},
    ),
}

VARIANTS = tuple(
    Variant(f"{name}-{case.name}", case, parts, options)
    for name, (parts, options) in _PARTS.items()
    for case in CASES
)

_FUNCTIONS = {
    "tanh": np.tanh,
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    "hard_sigmoid": lambda z: np.clip(z + 3, 0, 6) / 6,
    "relu": lambda z: np.maximum(z, 0),
    "linear": lambda z: z,
}


def _layer_norm(a: Array) -> Array:
    return (a - a.mean(-1, keepdims=True)) / np.sqrt(a.var(-1, keepdims=True) + 1e-5)


def _peepholes(packed: Array | None, gates: str) -> dict[str, Array]:
    if packed is None:
        return {}
    return dict(zip(gates, np.split(packed, len(gates)), strict=True))


def _added_up(
    z_x: dict[str, Array], z_h: dict[str, Array], b: dict[str, Array], scale: Array | None
) -> dict[str, Array]:
    """x W, h' R and b of each gate -> what it is a function of."""
    if scale is None:
        return {k: z_x[k] + z_h[k] + b[k] for k in b}
    if scale.ndim == 1:
        scales = np.split(scale, len(b))
        return {k: _layer_norm(z_x[k] + z_h[k]) * s + b[k] for k, s in zip(b, scales, strict=True)}
    x, h = (_layer_norm(np.concatenate(list(z.values()), -1)) for z in (z_x, z_h))
    both = np.split(x * scale[0] + h * scale[1], len(b), axis=-1)
    return {k: z + b[k] for k, z in zip(b, both, strict=True)}


def _on_its_way_out(c: Array, a: dict[str, Any]) -> Array:
    if a.get("cell_scale") is not None:
        c = _layer_norm(c) * a["cell_scale"] + a["cell_shift"]
    if a.get("output_kernel") is not None:
        c = c @ a["output_kernel"] + a["output_bias"]
    return c


def reference(
    nudges: Mapping[str, Array] | None = None, **arguments: Any
) -> dict[StateName, Array]:
    """All eight states, in float64; the time axis in the order of reading.

    `nudges` are added on the way, (B, T, N) in the order of time: to "z" of the gates before clip,
    to "cell_states" before zoneout, to "hidden_states" as they are handed on.
    """
    a = {
        k: v.astype("float64") if isinstance(v, np.ndarray) and v.dtype.kind == "f" else v
        for k, v in arguments.items()
    }
    given = a.get
    sigma, phi = (_FUNCTIONS.get(f, f) for f in (a["recurrent_activation"], a["activation"]))
    psi = _FUNCTIONS.get(given("output_activation"), given("output_activation")) or phi
    coupled = given("coupled", False)
    gates = "fgo" if coupled else "ifgo"
    batch, steps, _ = a["x"].shape
    units, hidden = a["recurrent_kernel"].shape[1] // len(gates), a["recurrent_kernel"].shape[0]

    def by_gate(packed: Array) -> dict[str, Array]:
        return dict(zip(gates, np.split(packed, len(gates), axis=-1), strict=True))

    def of_mask(name: str, gate: str) -> Any:
        mask = given(name)
        return 1.0 if mask is None else mask if mask.ndim == 2 else mask["ifgo".index(gate)]

    zeros = np.zeros(units)
    w, r = by_gate(a["kernel"]), by_gate(a["recurrent_kernel"])
    b = by_gate(a["bias"]) if given("bias") is not None else dict.fromkeys(gates, zeros)
    p = _peepholes(given("peephole"), "fo" if coupled else "ifo")
    start = [
        np.zeros((batch, size)) if given(name) is None else a[name]
        for name, size in (("hidden_state", hidden), ("cell_state", units))
    ]
    h, c = start
    rows: dict[StateName, list[Array]] = {}
    times = range(steps)[::-1] if a["go_backwards"] else range(steps)
    for t in times:
        if given("resets") is not None:
            # In the order of reading: nothing crosses from t - 1 to t.
            cut = t + 1 if a["go_backwards"] else t
            reset = a["resets"][:, cut, None] if cut < steps else np.zeros((batch, 1), int)
            h, c = (
                np.where(reset == 0, s, np.where(reset == 2, s0, 0))
                for s, s0 in zip((h, c), start, strict=True)
            )
        x = a["x"][:, t]
        z_x = {k: (x * of_mask("dropout_mask", k)) @ w[k] for k in gates}
        z_h = {k: (h * of_mask("recurrent_dropout_mask", k)) @ r[k] for k in gates}
        nudge = {name: array[:, t] for name, array in (nudges or {}).items()}
        z = _added_up(z_x, z_h, b, given("gate_scale"))
        z = {k: z[k] + by_gate(nudge["z"])[k] if "z" in nudge else z[k] for k in gates}
        bound = given("clip") or np.inf
        gate = {
            k: sigma(np.clip(z[k] + p.get(k, zeros) * c, -bound, bound)) for k in gates if k in "if"
        }
        if coupled:
            gate["i"] = 1 - gate["f"]
        gate["g"] = phi(np.clip(z["g"], -bound, bound))
        bound_c = given("cell_clip") or np.inf
        c_new = np.clip(gate["f"] * c + gate["i"] * gate["g"], -bound_c, bound_c)
        c_new += nudge.get("cell_states", 0)
        gate["o"] = sigma(np.clip(z["o"] + p.get("o", zeros) * c_new, -bound, bound))
        h_new = gate["o"] * psi(_on_its_way_out(c_new, a))
        if given("projection_kernel") is not None:
            h_new = h_new @ a["projection_kernel"]
        kept_h, kept_c = (
            part[:, t] if isinstance(part, np.ndarray) else part or 0.0
            for part in (given("hidden_zoneout"), given("cell_zoneout"))
        )
        counts = np.ones((batch, 1), bool) if given("mask") is None else a["mask"][:, t, None]
        h = np.where(counts, kept_h * h + (1 - kept_h) * h_new, h) + nudge.get("hidden_states", 0)
        c = np.where(counts, kept_c * c + (1 - kept_c) * c_new, c)
        after = (h, c, *(np.where(counts, gate[k], 0) for k in "ifgo"))
        for name, value in zip(_OVER_TIME, after, strict=True):
            rows.setdefault(name, []).append(value)
    states = {name: np.stack(values, 1) for name, values in rows.items()}
    return {**states, "hidden_state": h, "cell_state": c}


_OVER_TIME: tuple[StateName, ...] = (
    "hidden_states",
    "cell_states",
    "input_gates",
    "forget_gates",
    "candidates",
    "output_gates",
)
