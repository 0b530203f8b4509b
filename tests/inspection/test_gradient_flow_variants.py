"""gradient_flow of every LSTM beyond the plain one: its derivatives are those of its equations."""

from __future__ import annotations

from functools import cache
from typing import Any

import keras
import numpy as np
import pytest

from conveyor import LSTM, Input, gradient_flow
from conveyor._vocabulary import STATE_NAMES, has_time_axis
from conveyor.activations import LeakyRelu, ScaledTanh
from conveyor.inspection._backward import backward
from conveyor.layers import recording
from frameworks import BACKEND, gradients, to_numpy, where_quick
from variants import reference

pytestmark = pytest.mark.skipif(BACKEND == "numpy", reason="no gradients")

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
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "peephole": {"peephole": True},
    "coupled": {"coupled": True},
    "output_transform": {"output_transform": True},
    "projection": {"projection": 2},
    "gates": {"layer_norm": "gates"},
    "joint": {"layer_norm": "joint"},
    "cell": {"layer_norm": "cell"},
    "zoneout": {"zoneout": (0.3, 0.2)},
    "recurrent_weight_dropout": {"recurrent_weight_dropout": 0.4},
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
by_name = pytest.mark.parametrize("name", where_quick([*VARIANTS], 4))


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


def differences(arguments: dict[str, Any], arriving: dict[str, np.ndarray]) -> dict[str, Any]:
    """dL/d of each state, z and x, (B, T, N) in the order of time, by central differences."""

    def loss(nudges: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
        states = reference(nudges, **{**arguments, "x": x})
        return sum((states[n] * d).reshape(B, -1).sum(1) for n, d in arriving.items())

    eps, found = 1e-5, {}
    hidden, packed = arguments["recurrent_kernel"].shape
    sizes = {"hidden_states": hidden, "cell_states": U, "z": packed, "x": F}
    for name, size in sizes.items():
        found[name] = np.zeros((B, T, size))
        for t, n in np.ndindex(T, size):
            step = np.zeros((B, T, size))
            step[:, t, n] = eps  # samples do not mix: all at once
            for sign in (1, -1):
                nudge = {} if name == "x" else {name: sign * step}
                x = arguments["x"] + (sign * step if name == "x" else 0)
                found[name][:, t, n] += sign * loss(nudge, x) / (2 * eps)
    return found


def check(layer: LSTM, states: list[np.ndarray], training: bool = False) -> None:
    """Going back through a call, against differences of the reference."""
    with recording() as records:
        layer(given()["x"].astype(WIDE), states, mask=given()["mask"], resets=given()["resets"],
              training=training)  # fmt: skip
    (record,) = records
    rng = np.random.default_rng(2)
    arriving = {name: rng.normal(size=record.states[name].shape) for name in STATE_NAMES}
    found = backward(record, arriving)
    expected = differences(arguments_of(layer, states, record.drawn), arriving)
    turn = slice(None, None, -1 if layer.go_backwards else 1)
    counts = given()["mask"]
    actual = {
        "hidden_states": found.hidden_states,
        "cell_states": found.cell_states,
        "z": found.preactivations[..., U:] if layer.coupled else found.preactivations,
        "x": found.inputs,
    }
    tolerance = 1e-7 if WIDE == "float64" else 1e-3
    for name in actual:
        wanted, values = (
            np.where(counts[..., None], each, 0) for each in (expected[name], actual[name][:, turn])
        )
        scale = tolerance * np.abs(wanted).max()
        np.testing.assert_allclose(values, wanted, rtol=tolerance, atol=scale, err_msg=name)
    if layer.coupled:
        assert not found.preactivations[..., :U].any()


@by_name
def test_every_derivative_against_finite_differences(name) -> None:
    check(*made(**VARIANTS[name]))


@pytest.mark.parametrize("name", ["zoneout", "recurrent_weight_dropout", "everything_backwards"])
def test_what_training_drew_is_in_the_record(name) -> None:
    check(*made(**VARIANTS[name]), training=True)


@by_name
def test_all_that_is_left_of_the_last_step_came_through_the_next_one(name) -> None:
    layer, states = made(**VARIANTS[name])
    with recording() as records:
        layer(given()["x"].astype(WIDE), states)
    arriving = {n: np.ones(records[0].states[n].shape) for n in STATE_NAMES if not has_time_axis(n)}
    found = backward(records[0], arriving)
    np.testing.assert_allclose(found.handed_on[:, :-1], found.cell_states[:, :-1], rtol=1e-12)
    assert not found.handed_on[:, -1].any()


@by_name
def test_the_gradient_of_the_input_is_that_of_the_framework(name) -> None:
    x = Input((T, F))
    lstm = LSTM(U, **VARIANTS[name], name="reader")
    model = keras.Model(x, keras.layers.Dense(1)(lstm(x)))
    rng = np.random.default_rng(1)
    model.set_weights([rng.normal(size=w.shape) for w in model.weights])
    values = given()["x"].astype("float32")
    ones = np.ones((B, 1), "float32")
    flow = gradient_flow(model, values, ones, loss="mse", batch_size=2)
    layer = flow.layers["reader"]
    (d_x,) = gradients(lambda x: [(model(x) - 1) ** 2], [values], [ones])
    expected = np.linalg.norm(d_x, axis=-1).mean(0)
    np.testing.assert_allclose(layer.d_inputs, expected, rtol=1e-4, atol=1e-5)
    assert layer.decay[0] == 1
    assert np.isfinite(layer.d_cell_states).all()
    assert layer.memory_length > 0
