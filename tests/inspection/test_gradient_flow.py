"""gradient_flow(): total derivatives of a loss with respect to every state, and what they say."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

import conveyor
from cases import Case
from conveyor import ConveyorError, gradient_flow
from frameworks import BACKEND
from oracles import reference_forward

pytestmark = pytest.mark.skipif(BACKEND == "numpy", reason="no gradients")

KINDS = [conveyor.LSTM, layers.LSTM]
by_kind = pytest.mark.parametrize("kind", KINDS, ids=["conveyor", "keras"])
CASES = [
    Case(name="plain"),
    Case(name="backwards", go_backwards=True),
    Case(name="holes", mask="holes"),
    Case(name="left", mask="left", go_backwards=True, units=4),
    # Not relu: where c is exactly zero differences see half a slope.
    Case(name="resets", resets=True, mask="holes"),
    Case(name="linear", activation="linear", recurrent_activation="hard_sigmoid", use_bias=False),
]


class Model(keras.Model):
    """A layer under a mask, and a loss that looks at every step of it."""

    def __init__(self, case: Case, kind):
        super().__init__()
        given = case.arguments("float32")
        self.given = {n: given[n] for n in ("mask", "resets") if given[n] is not None}
        self.lstm = kind(
            case.units,
            activation=case.activation,
            recurrent_activation=case.recurrent_activation,
            use_bias=case.use_bias,
            go_backwards=case.go_backwards,
            return_sequences=True,
            return_state=True,
            name="lstm",
        )
        self.lstm.build(given["x"].shape)
        names = ("kernel", "recurrent_kernel", "bias")
        self.lstm.set_weights([given[n] for n in names if given[n] is not None])
        self.built = True

    def call(self, x):
        hidden_states, hidden_state, cell_state = self.lstm(x, **self.given)
        # So that something of its own arrives at each of them.
        return keras.ops.sum(keras.ops.sin(hidden_states), axis=(1, 2)) + keras.ops.sum(
            hidden_state**2 + 3 * cell_state**2, axis=1
        )


def loss_of_the_rest(case: Case, t: int, h, c) -> np.ndarray:
    """(B,) the loss, from the states after step t on, in the order of reading."""
    given = case.arguments()
    turn = slice(None, None, -1 if case.go_backwards else 1)
    x, mask = given["x"][:, turn], given["mask"]
    rest = {**given, "x": x[:, t + 1 :], "go_backwards": False, "hidden_state": h, "cell_state": c}
    if case.resets:
        rest["resets"] = given["resets"][:, t + 1 :] != 0
    rest["mask"] = None if mask is None else mask[:, turn][:, t + 1 :]
    if t + 1 == case.time_steps:
        return np.sin(h).sum(1) + (h**2).sum(1) + 3 * (c**2).sum(1)
    states = reference_forward(**rest)
    return (
        np.sin(h).sum(1)
        + np.sin(states["hidden_states"]).sum((1, 2))
        + (states["hidden_state"] ** 2).sum(1)
        + 3 * (states["cell_state"] ** 2).sum(1)
    )


def by_finite_differences(case: Case, eps=1e-6):
    """(B, T, U) dL/dh_t and dL/dc_t, in the order of reading; c_t acts through h_t too."""
    states = reference_forward(**case.arguments())
    phi = {"tanh": np.tanh, "linear": np.asarray}[case.activation]
    shape = states["hidden_states"].shape
    d_h, d_c = np.zeros(shape), np.zeros(shape)
    for t in range(shape[1]):
        h, c, o = (states[n][:, t] for n in ("hidden_states", "cell_states", "output_gates"))
        for u in range(shape[2]):
            step = np.eye(shape[2])[u] * eps
            d_h[:, t, u] = loss_of_the_rest(case, t, h + step, c)
            d_h[:, t, u] -= loss_of_the_rest(case, t, h - step, c)
            d_c[:, t, u] = loss_of_the_rest(case, t, o * phi(c + step), c + step)
            d_c[:, t, u] -= loss_of_the_rest(case, t, o * phi(c - step), c - step)
    return d_h / (2 * eps), d_c / (2 * eps)


@by_kind
@pytest.mark.parametrize("case", CASES, ids=str)
def test_against_finite_differences(case: Case, kind) -> None:
    if case.resets and kind is layers.LSTM:
        pytest.skip("Keras has no resets")
    given = case.arguments("float32")
    model = Model(case, kind)
    flow = gradient_flow(model, given["x"], loss=lambda y, made: made, batch_size=case.batch)
    layer = flow.layers["lstm"]
    mask = np.ones((case.batch, case.time_steps), bool) if given["mask"] is None else given["mask"]
    turn = slice(None, None, -1 if case.go_backwards else 1)
    for norms, gradient in zip(
        (layer.d_hidden_states, layer.d_cell_states), by_finite_differences(case), strict=True
    ):
        expected = np.linalg.norm(gradient[:, turn], axis=-1)
        expected = np.where(mask, expected, np.nan)
        expected = np.array(
            [
                np.mean(col[np.isfinite(col)]) if np.isfinite(col).any() else np.nan
                for col in expected.T
            ]
        )
        np.testing.assert_allclose(norms, expected, rtol=2e-4, atol=1e-5)
    expected_loss = loss_of_the_rest_from_the_start(case)
    assert flow.loss == pytest.approx(expected_loss, rel=1e-4)


def loss_of_the_rest_from_the_start(case: Case) -> float:
    states = reference_forward(**case.arguments())
    return float(
        np.mean(
            np.sin(states["hidden_states"]).sum((1, 2))
            + (states["hidden_state"] ** 2).sum(1)
            + 3 * (states["cell_state"] ** 2).sum(1)
        )
    )


def classifier(forget_bias=1.0, recurrent=0.1, activation="tanh", steps=60):
    """One LSTM and a Dense layer, whose gates do what the arguments say."""
    lstm = layers.LSTM(4, activation=activation, name="lstm")
    model = keras.Sequential([keras.Input((steps, 3)), lstm, layers.Dense(1)])
    rng = np.random.default_rng(1)
    bias = np.zeros(16, "float32")
    bias[4:8] = forget_bias
    lstm.set_weights([rng.normal(size=(3, 16)) * 0.3, rng.normal(size=(4, 16)) * recurrent, bias])
    model.compile(loss="mse")
    return model


@pytest.mark.parametrize(
    ("arguments", "verdict", "advice"),
    [
        ({"forget_bias": -3.0}, "vanishes", "open the forget gates"),
        ({"forget_bias": 6.0}, "healthy", ""),
        ({"recurrent": 3.0, "activation": "linear", "forget_bias": 3.0}, "explodes", "clipnorm"),
    ],
)
def test_the_verdict(arguments, verdict, advice) -> None:
    x = np.random.default_rng(0).normal(size=(8, 60, 3)).astype("float32") * 0.1
    flow = gradient_flow(classifier(**arguments), x, np.ones((8, 1), "float32"))
    layer = flow.layers["lstm"]
    assert layer.verdict.startswith(verdict)
    assert advice in layer.advice
    assert bool(layer.advice) == bool(advice)
    assert verdict in str(flow)
    assert "lstm" in flow._repr_html_()


def test_the_memory_length_of_a_forget_gate() -> None:
    # With no way through h, the gradient is the product of the forget gates.
    model = classifier(forget_bias=2.0, recurrent=0.0)
    lstm = model.layers[0]
    kernel, recurrent, bias = lstm.get_weights()
    kernel[:, 4:8] = 0
    lstm.set_weights([kernel, recurrent, bias])
    x = np.random.default_rng(0).normal(size=(8, 60, 3)).astype("float32")
    layer = gradient_flow(model, x, np.ones((8, 1), "float32")).layers["lstm"]
    forget = 1 / (1 + np.exp(-2.0))
    assert layer.memory_length == pytest.approx(-1 / np.log(forget), rel=1e-3)
    np.testing.assert_allclose(layer.decay, forget ** np.arange(60), rtol=1e-3)
    np.testing.assert_allclose(
        layer.d_cell_states[:-1] / layer.d_cell_states[1:], forget, rtol=1e-3
    )


def test_no_batch_size_changes_the_numbers() -> None:
    x = np.random.default_rng(0).normal(size=(7, 60, 3)).astype("float32")
    y = np.ones((7, 1), "float32")
    model = classifier()
    whole = gradient_flow(model, x, y).layers["lstm"]
    parts = gradient_flow(model, x, y, batch_size=3).layers["lstm"]
    for name in ("d_hidden_states", "d_cell_states", "d_inputs", "decay"):
        np.testing.assert_allclose(getattr(parts, name), getattr(whole, name), rtol=1e-4)


def test_stacks_and_directions_and_variables_stay() -> None:
    inputs = keras.Input((None, 3))
    h = layers.Bidirectional(layers.LSTM(4, return_sequences=True, name="a"), name="both")(inputs)
    h = layers.BatchNormalization()(layers.Dropout(0.5)(h))
    model = keras.Model(inputs, layers.Dense(1)(conveyor.LSTM(5, name="last")(h)))
    model.compile(loss="mse")
    before = [np.array(keras.ops.convert_to_numpy(v)) for v in model.variables]
    x = np.random.default_rng(0).normal(size=(4, 9, 3)).astype("float32")
    flow = gradient_flow(model, x, np.ones((4, 1), "float32"))
    assert sorted(flow.layers) == ["both/backward_a", "both/forward_a", "last"]
    for variable, was in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable), was)


def test_nothing_arrives() -> None:
    inputs = keras.Input((6, 3))
    dead = layers.Dense(1, kernel_initializer="zeros")(layers.LSTM(4, name="lstm")(inputs))
    model = keras.Model(inputs, dead)
    flow = gradient_flow(model, np.ones((2, 6, 3)), np.ones((2, 1)), loss="mse")
    assert flow.layers["lstm"].verdict == "nothing arrives"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, 'loss="mse"'),
        ({"loss": "mse", "batch_size": 0}, "batch_size to be a whole number"),
        ({"loss": "mse", "y": np.ones((3, 1))}, "y for each of the 2 samples; got 3"),
    ],
)
def test_mistakes(options, message) -> None:
    model = keras.Sequential([keras.Input((6, 3)), layers.LSTM(1)])
    with pytest.raises(ConveyorError, match=message):
        gradient_flow(model, np.ones((2, 6, 3)), **{"y": np.ones((2, 1)), **options})
