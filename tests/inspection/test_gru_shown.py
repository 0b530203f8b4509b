"""What explains and draws a GRU: its equations, its weights, its numbers, and the page."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers
from typer.testing import CliRunner

import conveyor
from conveyor import GRU, LSTM, ConveyorError
from conveyor.cli import app
from conveyor.inspection import (
    describe,
    draw_cell,
    draw_time_steps,
    explain,
    plot_gates,
    plot_memory,
    plot_saturation,
    plot_states,
    report,
    to_lstmvis,
)
from conveyor.layers import gate_weights, set_gate_weights
from frameworks import BACKEND, assert_close, to_numpy

B, T, F, U = 3, 6, 4, 5
X = np.random.default_rng(0).normal(size=(B, T, F)).astype("float32")
MASK = np.array([[1, 1, 1, 1, 0, 0], [0, 1, 0, 1, 1, 1], [1, 1, 1, 1, 1, 1]], bool)
FORMS = pytest.mark.parametrize("reset_after", [True, False])
KINDS = pytest.mark.parametrize("kind", [GRU, layers.GRU], ids=["conveyor", "keras"])


def built(kind=GRU, **arguments):
    layer = kind(U, **arguments)
    layer.build((None, T, F))
    draw = np.random.default_rng(3)
    layer.set_weights([draw.normal(size=w.shape).astype("float32") for w in layer.get_weights()])
    return layer


def words(layer):
    return " ".join(str(explain(layer)).replace("│", " ").split())


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


# Shapes and words --------------------------------------------------------------------


@FORMS
@KINDS
@pytest.mark.parametrize("use_bias", [True, False])
def test_every_weight_is_counted(kind, reset_after, use_bias) -> None:
    more = {"initial_state": "learned"} if kind is GRU else {}
    layer = built(kind, reset_after=reset_after, use_bias=use_bias, **more)
    (flow,) = describe(layer)
    assert flow.parameters == layer.count_params()
    shapes = [flow.kernel_shape, flow.recurrent_kernel_shape, flow.bias_shape]
    kept = [layer.cell.kernel, layer.cell.recurrent_kernel, layer.cell.bias]
    assert shapes == [None if w is None else tuple(w.shape) for w in kept]
    b = gate_weights(layer)["candidate"][1]
    assert flow.gate_bias_shape == (None if b is None else b.shape)
    assert max(map(len, str(explain(layer)).splitlines())) <= 92


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "z = sigmoid(W_z [h, x] + b_z) W (5, 9), b (2, 5)"),
        ({}, "q = R_g h_{t-1} + b'_g R (5, 5), b' (5,)"),
        ({}, "g = tanh(W_g x_t + b_g + r * q) W (5, 4), b (5,)"),
        ({}, "h_t = z * h_{t-1} + (1 - z) * g"),
        ({}, "3 * ((units + features) * units + 2 * units) = 3 * ((5 + 4) * 5 + 2 * 5) = 165"),
        ({"reset_after": False}, "g = tanh(W_g [r * h, x] + b_g) W (5, 9), b (5,)"),
        ({"reset_after": False, "use_bias": False}, "3 * ((5 + 4) * 5) = 135"),
        ({"reset_after": False}, "bias (15,): update, reset, candidate side by side"),
        ({"initial_state": "learned"}, "5 of its parameters are not of the gates"),
        ({"return_state": True}, "hidden_state (batch, 5), by return_state=True"),
        ({"outputs": ("update_gates", "hidden_state")}, "update_gates (batch, 6, 5), by outputs"),
        ({}, "all five states: (4 * time_steps + 1) * batch * units * 4 = (4 * 6 + 1) * 32 * 5"),
    ],
    ids=str,
)
def test_explain_says_it(arguments, said) -> None:
    layer = GRU(U, **arguments)
    model = keras.Sequential([keras.Input((T, F)), layer])
    assert said in words(model)


def test_it_is_explained_beside_an_lstm() -> None:
    x = keras.Input((T, F))
    both = layers.Bidirectional(layers.GRU(U, return_sequences=True))
    model = keras.Model(x, LSTM(2)(both(x)))
    assert [flow.is_gru for flow in describe(model)] == [True, True, False]
    assert "→ three W (5, 9) →" in words(model)
    (_, _, lstm) = explain(keras.Sequential([both, LSTM(2)]), (T, F)).flows
    assert (lstm.features, lstm.time_steps) == (2 * U, T)


def test_the_drawing_has_its_wires_and_shapes() -> None:
    (after,), (before,) = describe(built()), describe(built(reset_after=False, use_bias=False))
    one, other = draw_cell(after), draw_cell(before)
    assert one.count(">σ<") == other.count(">σ<") == 2
    assert ">R<" in one
    assert ">R<" not in other
    for label in (">1 −<", "h (5,) and x (4,) are joined to (9,)", "(5, 9)"):
        assert label in one
        assert label in other
    assert "a reset gate that acts on h," in other
    assert "(5, 4)" in one  # of x alone
    assert draw_time_steps(after) != draw_time_steps(describe(LSTM(U), (T, F))[0])


# Weights and numbers -----------------------------------------------------------------


@FORMS
@KINDS
def test_the_equations_with_these_weights_are_the_layer(kind, reset_after) -> None:
    layer = built(kind, reset_after=reset_after, return_sequences=True)
    weights = gate_weights(layer)
    assert list(weights) == ["update", "reset", "candidate"]
    h, hidden_states = np.zeros(U), []
    for x in X[0]:
        joined = np.concatenate([h, x])
        z, r = (
            sigmoid(W @ joined + np.atleast_2d(b).sum(axis=0))
            for W, b in (weights["update"], weights["reset"])
        )
        W, b = weights["candidate"]
        if reset_after:
            g = np.tanh(W[:, U:] @ x + b[0] + r * (W[:, :U] @ h + b[1]))
        else:
            g = np.tanh(W @ np.concatenate([r * h, x]) + b)
        h = z * h + (1 - z) * g
        hidden_states.append(h)
    assert_close(layer(X)[0], np.stack(hidden_states))
    other = built(kind, reset_after=reset_after)
    other.set_weights([w * 0 for w in other.get_weights()])
    set_gate_weights(other, weights)
    for a, e in zip(other.get_weights(), layer.get_weights(), strict=True):
        np.testing.assert_array_equal(a, e)


def test_a_bias_of_the_other_form_is_refused() -> None:
    layer = built()
    with pytest.raises(ConveyorError, match=r"b of 'update' of shape \(2, units\) = \(2, 5\)"):
        layer.set_gate_weights(built(reset_after=False).gate_weights())
    with pytest.raises(ConveyorError, match="'update', 'reset', 'candidate'; got one without"):
        layer.cell.set_gate_weights(built(LSTM).gate_weights())


@FORMS
@pytest.mark.parametrize("go_backwards", [False, True])
def test_worked_example_is_the_layer(reset_after, go_backwards) -> None:
    layer = built(reset_after=reset_after, go_backwards=go_backwards, name="gru")
    start = np.random.default_rng(1).normal(size=(B, U)).astype("float32")
    node = conveyor.trace(layer, X, preactivations=True)["gru"].to_dataset()
    numbers = conveyor.worked_example(layer, X, sample=1, step=2).to_dict()
    traced = node.isel(sample=1, time=2)
    for name, single in (
        ("hidden_states", "hidden_state"),
        ("update_gates", "update_gate"),
        ("reset_gates", "reset_gate"),
        ("candidates", "candidate"),
        *((n, n[:-1]) for n in map(str, node.data_vars) if n.endswith("preactivations")),
    ):
        assert_close(numbers[single], traced[name].values)
    last = 0 if go_backwards else T - 1
    for sample in range(B):
        example = conveyor.worked_example(
            layer, X, sample=sample, step=last, mask=MASK, initial_state=start
        )
        wanted = to_numpy(layer(X, mask=MASK, initial_state=start))[sample]
        assert_close(example.hidden_state, wanted)
        assert example.masked == (not MASK[sample, last])
        assert ("is masked" in str(example)) == example.masked


# Where NaN begins, the page, the pictures --------------------------------------------


def model_of(**arguments):
    x = keras.Input((T, F))
    h = GRU(U, return_sequences=True, name="a", **arguments)(layers.Masking()(x))
    return keras.Model(x, layers.Dense(1)(layers.LSTM(3, name="b")(h)))


def test_nonfinite_numbers_are_found() -> None:
    x, model = X.copy(), model_of()
    given = (x,) if BACKEND == "numpy" else (x, x[:, 0, :1])
    assert conveyor.find_nonfinite(model, *given, loss="mse") is None
    x[1, 3, 2] = np.nan
    assert "a: input is nan at sample 1, step 3" in str(conveyor.find_nonfinite(model, x))
    weights = model.get_layer("a").get_weights()
    weights[1][2, U + 3] = np.inf  # the reset gate's, of unit 3
    model.get_layer("a").set_weights(weights)
    found = conveyor.find_nonfinite(model, X)
    assert (found.layer, found.name, found.unit) == ("a", "recurrent_kernel", 3)
    linear = model_of(activation="linear")
    kernel, recurrent_kernel, bias = linear.get_layer("a").get_weights()
    recurrent_kernel[:] = 0
    recurrent_kernel[1, 2 * U + 1] = 1e25
    bias[:, : 2 * U] = -30  # keeps nothing
    bias[0, U : 2 * U] = 90  # and resets nothing
    linear.get_layer("a").set_weights([kernel, recurrent_kernel, bias])
    with np.errstate(over="ignore", invalid="ignore"):
        found = conveyor.find_nonfinite(linear, X)
    assert (found.layer, found.kind, found.name) == ("a", "value", "candidate_preactivations")


def test_the_page_and_the_command_line(tmp_path) -> None:
    model, texts = model_of(), ["abcdef", "ghijkl", "mnopqr"]
    page = report(model, X, tmp_path / "page.html", text=texts).read_text(encoding="utf-8")
    assert "h after every step: the conveyor belt, the memory, which is also shown." in page
    assert "h after every step: what the layer shows of its memory." in page  # of the LSTM
    assert "Every LSTM and GRU takes" in page
    assert 'value="update_gates"' in page
    model.save(tmp_path / "model.keras")
    np.savez(tmp_path / "x.npz", x=X)
    for command, said in (
        (["explain"], "z = sigmoid(W_z [h, x] + b_z)"),
        (["trace", str(tmp_path / "x.npz"), "--out", str(tmp_path / "t.zarr")], "update_gates"),
        (["report", str(tmp_path / "x.npz"), "--out", str(tmp_path / "r.html")], "Written"),
    ):
        name, *rest = command
        shown = CliRunner().invoke(app, [name, str(tmp_path / "model.keras"), *rest])
        assert shown.exit_code == 0, shown.output
        assert said in " ".join(shown.output.split())


def test_pictures_and_files(tmp_path) -> None:
    pytest.importorskip("matplotlib").use("agg")
    tree = conveyor.trace(model_of(), X, tokens=["abcdef"] * B)
    assert plot_states(tree["a"]).get_title(loc="left") == "Hidden states (a, sample 0)"
    assert plot_states(tree["a"], "update_gates", 1).images[0].norm.vmax == 1
    legend = plot_gates(tree["a"], unit=2).get_legend().get_texts()
    assert [text.get_text() for text in legend] == [
        "update gate", "reset gate", "candidate", "hidden state",
    ]  # fmt: skip
    assert plot_memory(tree["a"]).get_title(loc="left").startswith("What the hidden state after")
    labels = plot_saturation(tree["a"]).get_legend().get_texts()
    assert [text.get_text() for text in labels] == ["update gates", "reset gates"]
    pytest.importorskip("h5py")
    folder = to_lstmvis(tree, tmp_path / "vis")
    assert '"path": "a/reset_gates"' in (folder / "lstm.yml").read_text(encoding="utf-8")


@pytest.mark.skipif(BACKEND == "numpy", reason="no training")
def test_it_is_watched_while_it_is_trained() -> None:
    model, y = model_of(), X[:, 0, :1]
    model.compile("sgd", "mse")
    watching = [
        conveyor.callbacks.GateHealth(X, detail=True),
        conveyor.callbacks.GradientFlow(X, y),
    ]
    kept = model.fit(X, y, epochs=1, verbose=0, callbacks=watching).history
    assert kept["a/dead_units"] == [0.0]
    assert 0 <= kept["a/update_gates_left_saturated"][0] <= 1
    assert kept["a/half_life"][0] > 0
    assert kept["a/gradient_left"][0] > 0
    assert "b/forget_gates_left_saturated" in kept
    if BACKEND == "torch":
        pytest.importorskip("matplotlib").use("agg")
        ax = conveyor.plot_gradient_flow(watching[1].history[0], layer="a")
        assert len(ax.get_legend().get_texts()) == 2
