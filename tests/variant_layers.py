"""Layers beyond the plain LSTM, one for each argument and for some together, and their reference.

layer, states = made(**VARIANTS["peephole"])
expected = reference(**arguments_of(layer, states))
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from conveyor import LSTM
from conveyor.activations import LeakyRelu, ScaledTanh
from frameworks import BACKEND, to_numpy

B, T, F, U = 3, 4, 2, 3
WIDE = "float32" if BACKEND == "jax" else "float64"  # JAX has float64 by a switch of its own
ALL = {
    "layer_norm": ("joint", "cell"),
    "coupled": True,
    "peephole": True,
    "output_transform": True,
    "projection": 2,
    "zoneout": (0.3, 0.2),
    "clip": 1.2,
    "cell_clip": 0.8,
    "output_activation": "sigmoid",
}
NUMBERED = {
    "activation": ScaledTanh(1.7, 0.6),
    "recurrent_activation": "hard_sigmoid",
    "output_activation": LeakyRelu(0.3),
}
# Each by itself, where that is one argument.
SINGLE: dict[str, dict[str, Any]] = {
    "peephole": {"peephole": True},
    "coupled": {"coupled": True},
    "output_transform": {"output_transform": True},
    "projection": {"projection": 2},
    "gates": {"layer_norm": "gates"},
    "joint": {"layer_norm": "joint"},
    "cell": {"layer_norm": "cell"},
    "zoneout": {"zoneout": (0.3, 0.2)},
    "recurrent_weight_dropout": {"recurrent_weight_dropout": 0.4},
}
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    **SINGLE,
    "clip": {"clip": 0.7},
    "cell_clip": {"cell_clip": 0.4},
    "activations": NUMBERED,
    "coupled_peephole": {"coupled": True, "peephole": True, "clip": 0.9},
    "peephole_zoneout": {"peephole": True, "zoneout": (0.0, 0.4), "go_backwards": True},
    "projection_zoneout": {"projection": 2, "zoneout": 0.3, "use_bias": False},
    "gates_coupled": {"layer_norm": ("gates", "cell"), "coupled": True, "cell_clip": 0.5},
    "joint_output": {"layer_norm": "joint", "output_transform": True, "projection": 4},
    "everything": ALL,
    "everything_backwards": {**ALL, "go_backwards": True},
}
IN_NUMPY = {
    NUMBERED["activation"]: lambda z: 1.7 * np.tanh(0.6 * z),
    NUMBERED["output_activation"]: lambda z: np.where(z >= 0, z, 0.3 * z),
}


@cache
def given() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    mask = rng.random((B, T)) < 0.8
    resets = np.zeros((B, T), bool)
    resets[1, 2] = True
    return {"x": rng.normal(size=(B, T, F)), "mask": mask, "resets": resets}


def made(**variant: Any) -> tuple[LSTM, list[np.ndarray]]:
    """A layer with random weights, and states before its first step."""
    layer = LSTM(U, dtype=WIDE, seed=3, **variant)
    layer.build((None, T, F))
    rng = np.random.default_rng(1)
    layer.set_weights([rng.normal(size=w.shape) for w in layer.weights])
    return layer, [rng.normal(size=(B, size)) for size in layer.cell.state_size]


def arguments_of(layer: LSTM, states: list[np.ndarray], drawn=None) -> dict[str, Any]:
    """What the reference is given for a call of the layer."""
    arguments = {n: a for n, a in layer.cell.weights_for_ops().items() if a is not None}
    arguments = {
        "bias": None,
        **arguments,
        **given(),
        **(drawn or {}),
        "hidden_state": states[0],
        "cell_state": states[1],
        "go_backwards": layer.go_backwards,
    }
    for name, value in arguments.items():
        if name.endswith("activation"):
            known = IN_NUMPY if value in IN_NUMPY else {value: value.__name__}
            arguments[name] = known[value]
        elif hasattr(value, "shape"):
            arguments[name] = to_numpy(value)
    return arguments
