"""gradient_flow of every LSTM beyond the plain one: its derivatives are those of its equations."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from conveyor import LSTM, Input, gradient_flow
from conveyor._vocabulary import STATE_NAMES, has_time_axis
from conveyor.inspection._backward import backward
from conveyor.layers import recording
from frameworks import BACKEND, gradients
from variant_layers import VARIANTS, WIDE, B, F, T, U, arguments_of, given, made
from variants import reference

pytestmark = pytest.mark.skipif(BACKEND == "numpy", reason="no gradients")

by_name = pytest.mark.parametrize("name", VARIANTS)


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


def test_what_is_not_there_makes_no_nan_of_an_infinite_gradient() -> None:
    layer, states = made()
    with recording() as records:
        layer(given()["x"].astype(WIDE), states)
    with np.errstate(invalid="ignore"):  # in the step before infinities of both signs meet
        found = backward(records[0], {"cell_state": np.full((B, U), np.inf)})
    assert np.isposinf(found.cell_states[:, -1]).all()
    assert not np.isnan(found.preactivations[:, -1]).any()


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
