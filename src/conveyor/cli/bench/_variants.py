"""What is beyond the plain LSTM: the arrays and arguments of each, the same for every peer."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._job import Job

PARTS = 0.1  # of zoneout and of what is dropped

# Those of conveyor.LSTM, and what a call may add to a plain one; the GRU with its own weights.
VARIANTS = (
    "peephole",
    "coupled",
    "output_transform",
    "projection",
    "layer_norm=gates",
    "layer_norm=joint",
    "layer_norm=joint,cell",
    "zoneout, training",
    "zoneout, inference",
    "recurrent_weight_dropout",
    "clip",
    "cell_clip",
    "activation=softsign",
    "dropout",
    "recurrent_dropout",
    "GRU",
)

# Those whose steps are timed, too: what conveyor.LSTM is told for each, and the GRU.
STREAMED: dict[str, dict[str, Any]] = {
    "layer_norm=gates": {"layer_norm": "gates"},
    "projection": {},  # half of the units
    "output_transform": {"output_transform": True},
    "GRU": {},
}

Arrays = dict[str, np.ndarray]


def gates(variant: str) -> int:
    """How many the kernels hold."""
    return 3 if variant in ("coupled", "GRU") else 4


def hidden_size(job: Job) -> int:
    """H: half of the units where they are projected."""
    return job.units // 2 if job.variant == "projection" else job.units


def weights(job: Job, rng: np.random.Generator) -> Arrays:
    """Those that are trained, in the order in which conveyor's functions take them."""
    u, h, n = job.units, hidden_size(job), gates(job.variant)

    def drawn(*shape: int) -> np.ndarray:
        return (2 * rng.random(shape, "float32") - 1) / np.float32(np.sqrt(u))

    bias = (2, n * u) if job.variant == "GRU" else (n * u,)
    arrays = {
        "kernel": drawn(job.features, n * u),
        "recurrent_kernel": drawn(h, n * u),
        "bias": drawn(*bias),
    }
    beyond: dict[str, dict[str, tuple[int, ...]]] = {
        "peephole": {"peephole": (3 * u,)},
        "output_transform": {"output_kernel": (u, u), "output_bias": (u,)},
        "projection": {"projection_kernel": (u, h)},
        "layer_norm=gates": {"gate_scale": (4 * u,)},
        "layer_norm=joint": {"gate_scale": (2, 4 * u)},
        "layer_norm=joint,cell": {
            "gate_scale": (2, 4 * u),
            "cell_scale": (u,),
            "cell_shift": (u,),
        },
    }
    for name, shape in beyond.get(job.variant, {}).items():
        around = np.float32(1.0 if name.endswith("scale") else 0.0)
        arrays[name] = around + drawn(*shape)
    return arrays


def constants(job: Job, rng: np.random.Generator) -> Arrays:
    """Arrays of a call that are not trained: factors of dropout, and what zoneout drew."""
    b, t, f, u = job.batch, job.time_steps, job.features, job.units

    def factors(*shape: int) -> np.ndarray:
        return ((rng.random(shape) >= PARTS) / (1 - PARTS)).astype("float32")

    if job.variant == "zoneout, training":
        return {n: rng.random((b, t, u)) < PARTS for n in ("hidden_zoneout", "cell_zoneout")}
    if job.variant == "dropout":
        return {"dropout_mask": factors(b, f)}
    if job.variant == "recurrent_dropout":  # one mask for each gate, as the layer draws them
        return {"recurrent_dropout_mask": factors(4, b, u)}
    if job.variant == "recurrent_weight_dropout":
        return {"recurrent_factors": factors(u, 4 * u)}
    return {}


def arguments(variant: str) -> dict[str, Any]:
    """Of `ops.lstm` and `ops.gru`, besides arrays."""
    beyond: dict[str, dict[str, Any]] = {
        "coupled": {"coupled": True},
        "zoneout, inference": {"hidden_zoneout": PARTS, "cell_zoneout": PARTS},
        "clip": {"clip": 3.0},
        "cell_clip": {"cell_clip": 3.0},
        "activation=softsign": {"activation": "softsign"},
    }
    return beyond.get(variant, {})
