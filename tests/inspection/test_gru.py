"""What traces and watches a GRU, conveyor's or Keras's: the numbers are those of its equations."""

from __future__ import annotations

from functools import cache

import keras
import numpy as np
import pytest
import xarray
from keras import layers

import conveyor
from conveyor import GRU, ConveyorError, trace
from conveyor._vocabulary import GRU_STATE_NAMES, has_time_axis
from conveyor.layers import running_here
from frameworks import BACKEND, TOLERANCE, assert_close, to_numpy
from grus import GRUCase, reference_gru

KINDS = {"conveyor": GRU, "keras": layers.GRU}
CASES = [
    GRUCase(name="plain", reset_after=True),
    GRUCase(name="holes", reset_after=True, mask="holes", go_backwards=True),
    GRUCase(name="left", reset_after=False, mask="left"),
    # Not relu: where its argument is zero differences see half a slope.
    GRUCase(name="linear", reset_after=False, activation="linear", use_bias=False),
]
RESETS = GRUCase(name="resets", resets=True, mask="holes")
X = np.random.default_rng(0).normal(size=(4, 6, 3)).astype("float32")


class Model(keras.Model):
    """A layer under a mask, and a loss that looks at every step of it."""

    def __init__(self, case: GRUCase, kind=GRU):
        super().__init__()
        arrays = case.arguments("float32")
        self.given = {n: arrays[n] for n in ("mask", "resets") if arrays[n] is not None}
        self.gru = kind(
            case.units,
            activation=case.activation,
            recurrent_activation=case.recurrent_activation,
            use_bias=case.use_bias,
            reset_after=case.reset_after,
            go_backwards=case.go_backwards,
            return_sequences=True,
            return_state=True,
            name="gru",
        )
        self.gru.build(arrays["x"].shape)
        names = ("kernel", "recurrent_kernel", "bias")
        self.gru.set_weights([arrays[n] for n in names if arrays[n] is not None])
        self.built = True

    def call(self, x):
        hidden_states, hidden_state = self.gru(x, **self.given)
        return keras.ops.sum(keras.ops.sin(hidden_states), axis=(1, 2)) + keras.ops.sum(
            hidden_state**2, axis=1
        )


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


@cache
def mixed():
    """Both forms, both kinds, conveyor's and Keras's, under a mask."""
    keras.utils.set_random_seed(1)
    x = keras.Input((None, 3))
    h = GRU(4, return_sequences=True, reset_after=False, name="reader")(layers.Masking()(x))
    h = layers.Bidirectional(layers.GRU(3, return_sequences=True), name="both")(h)
    h = layers.LSTM(5, return_sequences=True, name="lstm")(h)
    h = layers.RNN(layers.GRUCell(2), return_sequences=True, name="rnn")(h)
    model = keras.Model(x, layers.Dense(1)(GRU(3, name="last")(h)), name="mixed")
    rng = np.random.default_rng(2)
    model.set_weights([rng.normal(size=w.shape) * 0.7 for w in model.weights])
    return model


def padded():
    x = X.copy()
    x[1, 4:] = x[2, 1] = 0
    return x


# The trace ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_all_states_are_those_of_the_reference(case: GRUCase, kind) -> None:
    arrays, expected = case.arguments("float32"), reference_gru(**case.arguments())
    model = Model(case, kind)
    node = trace(model, arrays["x"], preactivations=True)["gru"]
    assert "inner_loop" not in vars(model.gru)
    kept = {n for n in map(str, node.data_vars) if not n.endswith("preactivations")}
    assert kept == {*GRU_STATE_NAMES, "initial_hidden_state"}
    mask = arrays["mask"]
    for name in GRU_STATE_NAMES:
        values = expected[name]
        if has_time_axis(name):
            values = values[:, ::-1] if case.go_backwards else values
            values = values if mask is None else np.where(mask[..., None], values, np.nan)
        tolerance = TOLERANCE["float32"]
        np.testing.assert_allclose(node[name], values, rtol=tolerance, atol=tolerance)
    phi = {"tanh": np.tanh, "linear": np.asarray}[case.activation]
    for z, gate, function in (
        ("update", "update_gates", sigmoid),
        ("reset", "reset_gates", sigmoid),
        ("candidate", "candidates", phi),
    ):
        assert_close(function(node[f"{z}_preactivations"].values), node[gate].values)
    assert (node.attrs["cell"], node.attrs["reset_after"]) == ("GRU", case.reset_after)
    kind_name = "conveyor" if kind is GRU else "keras.layers"
    assert node.attrs["layer"] == f"{kind_name}.GRU"


def test_a_model_of_both_kinds(tmp_path) -> None:
    model, x = mixed(), padded()
    before = to_numpy(model(x))
    tree = trace(model, x, to=tmp_path / "trace.zarr", progress=False)
    assert set(tree.children) == {"reader", "both", "lstm", "rnn", "last"}
    directions = [tree["both"][name].attrs["direction"] for name in tree["both"].children]
    assert sorted(directions) == ["backward", "forward"]
    xarray.testing.assert_allclose(tree.load(), trace(model, x))
    assert_close(model(x), before)
    hs = tree["rnn"].hidden_states
    assert_close(hs.isel(sample=0, time=-1), tree["rnn"].hidden_state.isel(sample=0))
    assert "cell_states" in tree["lstm"]
    assert "cell_states" not in tree["rnn"]


def test_what_is_selected_may_be_of_one_kind() -> None:
    states = ["update_gates", "cell_states"]
    tree = trace(mixed(), X, select={"states": states}, preactivations=True)
    assert "input_preactivations" in tree["lstm"]
    assert next(iter(tree["last"].data_vars)) == "update_gates"
    assert "lstm" not in trace(mixed(), X, select={"states": "update_gates"}).children
    with pytest.raises(ConveyorError, match=r"update_gates, reset_gates.*got the state 'cells'"):
        trace(mixed(), X, select={"states": ["cells"]})
    alone = keras.Sequential([keras.Input((6, 3)), GRU(2)])
    with pytest.raises(ConveyorError, match=r"hidden_states.*got the state 'cell_states'"):
        trace(alone, X, select={"states": ["cell_states"]})


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_stateful_layer_has_its_state_back(kind) -> None:
    layer = kind(3, stateful=True, name="gru")
    x = keras.Input(batch_shape=(4, 6, 3))
    model = keras.Model(x, layer(x))
    model(X)
    (before,) = (to_numpy(keras.ops.copy(s)) for s in keras.tree.flatten(layer.states))
    node = trace(model, X)["gru"]
    np.testing.assert_array_equal(node["initial_hidden_state"], before)
    np.testing.assert_array_equal(to_numpy(keras.tree.flatten(layer.states)[0]), before)


@pytest.mark.parametrize("go_backwards", [True, False])
def test_zero_output_for_mask_is_as_in_keras(go_backwards) -> None:
    options = {"return_sequences": True, "return_state": True, "zero_output_for_mask": True}
    layer = layers.GRU(3, reset_after=False, go_backwards=go_backwards, **options)
    mask = np.array([[1, 1, 0, 1, 0, 0]] * 4, bool)
    layer.build(X.shape)
    expected = [to_numpy(value) for value in layer(X, mask=mask)]
    with running_here([layer]):
        actual = layer(X, mask=mask)
    for a, e in zip(actual, expected, strict=True):
        assert_close(a, e)


class OwnStep(layers.GRUCell):
    def call(self, inputs, states, training=False):
        return super().call(inputs, states, training)


def test_a_cell_with_a_step_of_its_own_is_refused() -> None:
    layer = layers.RNN(OwnStep(3), name="own")
    layer.build((None, None, 3))
    with pytest.raises(ConveyorError, match=r'GRU "own".*OwnStep, which has a step of its own'):
        trace(layer, X)


# What is made of it ------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES[:3], ids=str)
def test_memory_is_the_exact_split_of_the_hidden_state(case: GRUCase) -> None:
    arrays = case.arguments()
    node = trace(Model(case), arrays["x"].astype("float32"))["gru"].to_dataset()
    states = reference_gru(**arrays)
    mask = np.ones(arrays["x"].shape[:2], bool) if arrays["mask"] is None else arrays["mask"]
    turn = slice(None, None, -1 if case.go_backwards else 1)
    z, g = (states[n][:, turn] for n in ("update_gates", "candidates"))
    split = conveyor.memory(node)
    steps = range(case.time_steps)[turn]
    for k in steps:
        after = [t for t in steps if (t < k if case.go_backwards else t > k)]
        kept = np.prod([np.where(mask[:, t, None], z[:, t], 1) for t in after] or [1.0], axis=0)
        expected = np.where(mask[:, k, None], kept * (1 - z[:, k]) * g[:, k], 0)
        np.testing.assert_allclose(split.contribution[:, k], expected, rtol=1e-4, atol=1e-6)
    held = split.contribution.sum("time") + split.initial
    np.testing.assert_allclose(held, node.hidden_state, atol=1e-5)
    np.testing.assert_allclose(split.hidden_state, node.hidden_state, atol=1e-6)
    with pytest.raises(ConveyorError, match=r"h_t = z_t h_\{t-1\} \+ \(1 - z_t\) g_t"):
        conveyor.memory(node.assign(candidates=node.candidates + 1))


def gate(*units):
    return ("sample", "time", "unit"), np.broadcast_to(units, (2, 8, len(units))).copy()


def test_health_measures_what_the_update_gate_keeps() -> None:
    layer = xarray.Dataset(
        {
            "update_gates": gate(0.5, 0.95, 0.95),
            "reset_gates": gate(0.05, 0.5, 0.95),
            "hidden_states": gate(0.2, 0.2, 0.0),
        }
    )
    found = conveyor.health(layer)
    numbers = found.to_dataset()
    assert list(numbers.gate.values) == ["update_gates", "reset_gates"]
    np.testing.assert_allclose(numbers.half_life, np.log(0.5) / np.log([0.5, 0.95, 0.95]))
    np.testing.assert_array_equal(numbers.left_saturated.sel(gate="reset_gates"), [1, 0, 0])
    assert list(numbers.dead.values) == [False, False, True]
    said = str(found)
    assert "The update gate of 1 of 3 units (1) is above 0.9 in more than 99% of steps" in said
    assert "output" not in said
    shut = layer.assign(update_gates=gate(0.01, 0.01, 0.5))
    assert "Begin with larger biases in the update gates" in str(conveyor.health(shut))


def loss_of_the_rest(case: GRUCase, t: int, h) -> np.ndarray:
    """(B,) the loss, from the hidden state after step t on, in the order of reading."""
    arrays = case.arguments()
    turn = slice(None, None, -1 if case.go_backwards else 1)
    mask = arrays["mask"]
    rest = {
        **arrays,
        "x": arrays["x"][:, turn][:, t + 1 :],
        "mask": None if mask is None else mask[:, turn][:, t + 1 :],
        "hidden_state": h,
        "go_backwards": False,
    }
    if case.resets:
        rest["resets"] = arrays["resets"][:, t + 1 :] != 0
    here = np.sin(h).sum(1)
    return here + ((h**2).sum(1) if t + 1 == case.time_steps else whole_loss(rest))


def whole_loss(arrays) -> np.ndarray:
    states = reference_gru(**arrays)
    return np.sin(states["hidden_states"]).sum((1, 2)) + (states["hidden_state"] ** 2).sum(1)


@pytest.mark.skipif(BACKEND == "numpy", reason="no gradients")
@pytest.mark.parametrize("case", [*CASES, RESETS], ids=str)
def test_gradients_against_finite_differences(case: GRUCase) -> None:
    arrays, eps = case.arguments(), 1e-6
    kind = layers.GRU if case.name == "holes" else GRU
    flow = conveyor.gradient_flow(
        Model(case, kind), arrays["x"].astype("float32"), loss=lambda y, made: made, batch_size=9
    )
    if case.resets:
        arrays["resets"] = arrays["resets"] != 0
    states = reference_gru(**arrays)["hidden_states"]
    d_h = np.zeros(states.shape)
    for t in range(case.time_steps):
        for u in range(case.units):
            step = np.eye(case.units)[u] * eps
            d_h[:, t, u] = loss_of_the_rest(case, t, states[:, t] + step)
            d_h[:, t, u] -= loss_of_the_rest(case, t, states[:, t] - step)
    d_x = np.zeros(arrays["x"].shape)
    for t, f in np.ndindex(d_x.shape[1:]):
        for sign in (1, -1):
            x = arrays["x"].copy()
            x[:, t, f] += sign * eps
            d_x[:, t, f] += sign * whole_loss({**arrays, "x": x})
    turn = slice(None, None, -1 if case.go_backwards else 1)
    mask = np.ones(d_x.shape[:2], bool) if arrays["mask"] is None else arrays["mask"]
    counted, layer = mask.sum(axis=0), flow.layers["gru"]
    for norms, gradient in ((layer.d_hidden_states, d_h[:, turn]), (layer.d_inputs, d_x)):
        sums = np.where(mask, np.linalg.norm(gradient / (2 * eps), axis=-1), 0).sum(axis=0)
        expected = np.where(counted, sums / np.maximum(counted, 1), np.nan)
        np.testing.assert_allclose(norms, expected, rtol=2e-4, atol=1e-5)
    assert layer.d_cell_states is None
    assert flow.loss == pytest.approx(whole_loss(arrays).mean(), rel=1e-4)
