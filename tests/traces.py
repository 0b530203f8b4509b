"""Layers of traces made by hand: a plain loop over the steps, in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

STEPS = ("sample", "time", "unit")


def sigmoid(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


def make_layer(
    samples: int = 2,
    steps: int = 6,
    units: int = 3,
    *,
    seed: int = 0,
    mask: Any = None,
    direction: str = "forward",
    tokens: list[str] | None = None,
    **gates: Any,
) -> xr.Dataset:
    """One layer of a trace, with random gates; any of the four can be given."""
    rng = np.random.default_rng(seed)
    shape = (samples, steps, units)
    gate = {
        name: np.broadcast_to(gates.get(name, random(rng.normal(scale=2, size=shape))), shape)
        for name, random in (
            ("input_gates", sigmoid),
            ("forget_gates", sigmoid),
            ("candidates", np.tanh),
            ("output_gates", sigmoid),
        )
    }
    counts = np.ones((samples, steps), bool) if mask is None else np.asarray(mask, bool)
    hidden, cell = rng.normal(size=(2, samples, units))
    initial = {"initial_hidden_state": hidden, "initial_cell_state": cell}
    states = {name: np.full(shape, np.nan) for name in ("hidden_states", "cell_states")}
    for t in range(steps) if direction == "forward" else reversed(range(steps)):
        i, f, g, o = (array[:, t] for array in gate.values())
        here = counts[:, t, np.newaxis]
        cell = np.where(here, f * cell + i * g, cell)
        hidden = np.where(here, o * np.tanh(cell), hidden)
        states["hidden_states"][:, t] = np.where(here, hidden, np.nan)
        states["cell_states"][:, t] = np.where(here, cell, np.nan)
    over_time = states | {n: np.where(counts[..., np.newaxis], a, np.nan) for n, a in gate.items()}
    once = initial | {"hidden_state": hidden, "cell_state": cell}
    coordinates: dict[str, Any] = {
        "sample": np.arange(samples),
        "time": np.arange(steps),
        "unit": np.arange(units),
    }
    if tokens is not None:
        coordinates["token"] = (
            ("sample", "time"),
            np.array([list(text) + [""] * (steps - len(text)) for text in tokens]),
        )
    return xr.Dataset(
        {name: (STEPS, array) for name, array in over_time.items()}
        | {name: (("sample", "unit"), array) for name, array in once.items()},
        coordinates,
        {"layer": "conveyor.LSTM", "direction": direction, "units": units},
    )


def make_trace(**layers: xr.Dataset) -> xr.DataTree:
    return xr.DataTree.from_dict(
        {"/": xr.Dataset(attrs={"model": "reader", "conveyor": "0.1.0"}), **layers}
    )
