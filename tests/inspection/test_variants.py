"""What explains, traces and watches an LSTM, where it is beyond the plain one."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

import conveyor
from conveyor import LSTM, ConveyorError, Input
from conveyor.inspection import describe, draw_cell, explain
from frameworks import BACKEND, assert_close, to_numpy
from variant_layers import SINGLE

T, F, U = 6, 3, 5
VARIANTS = {
    **SINGLE,
    "clip": {"clip": 0.7, "cell_clip": 0.5},
    "output_activation": {"output_activation": "relu"},
    "coupled_peephole": {"coupled": True, "peephole": True, "clip": 0.9},
    "everything": {
        "peephole": True,
        "coupled": True,
        "output_transform": True,
        "projection": 3,
        "layer_norm": ("joint", "cell"),
        "zoneout": 0.1,
        "recurrent_weight_dropout": 0.3,
        "clip": 1.2,
        "cell_clip": 0.8,
        "output_activation": "sigmoid",
    },
}
# All on PyTorch; elsewhere, where each is compiled, those that have a way of their own.
OWN_WAYS = ("projection", "joint", "zoneout", "recurrent_weight_dropout", "everything")
HERE = {n: v for n, v in VARIANTS.items() if BACKEND == "torch" or n in OWN_WAYS}
by_name = pytest.mark.parametrize("variant", HERE.values(), ids=HERE)


def words(layer):
    return " ".join(str(explain(layer)).replace("│", " ").split())


def built(**arguments):
    layer = LSTM(U, **arguments)
    layer.build((None, T, F))
    return layer


@by_name
@pytest.mark.parametrize("more", [{}, {"use_bias": False, "initial_state": "learned"}], ids=str)
def test_explain_counts_every_weight(variant, more) -> None:
    layer = built(**variant, **more)
    (flow,) = describe(layer)
    assert flow.parameters == layer.count_params()
    count = len(flow.more_weights)
    ends = [w for w in layer.weights if not w.name.startswith("initial")][-count:] if count else []
    assert [(w.name, w.shape) for w in ends] == list(flow.more_weights.items())
    assert [r.shape[-1] for r in flow.returned] == [layer.compute_output_shape((1, T, F))[-1]]
    assert draw_cell(flow).startswith("<svg")
    assert max(map(len, str(explain(layer)).splitlines())) <= 92


@pytest.mark.parametrize(
    ("variant", "said"),
    [
        ({"peephole": True}, "f = sigmoid(W_f [h, x] + b_f + p_f * c_{t-1})"),
        ({"peephole": True}, "o = sigmoid(W_o [h, x] + b_o + p_o * c_t)"),
        ({"peephole": True}, "+ 3 * units = 4 * ((5 + 3) * 5 + 5) + 3 * 5 = 195"),
        ({"coupled": True}, "input gate i = 1 - f (5,)"),
        ({"coupled": True}, "forget, candidate, output side by side"),
        ({"coupled": True}, "3 * ((units + features) * units + units)"),
        ({"output_transform": True}, "u = c_t W5 + b5 W5 (5, 5), b5 (5,)"),
        ({"output_transform": True}, "h_t = o * tanh(u)"),
        ({"projection": 2}, "[h, x]: (projection + features,) (5,)"),
        ({"projection": 2}, "h_t = m_t P P (5, 2)"),
        ({"projection": 2}, "= 6 * (2 + 1 * 5) * 32 * 4 = 5,376 bytes"),
        ({"layer_norm": "gates"}, "z = LN(W [h, x]) * s + b, each gate by itself s (20,)"),
        ({"layer_norm": "joint"}, "z = LN(W_x x) * s_x + LN(W_h h) * s_h + b s (2, 20)"),
        ({"layer_norm": "joint"}, "f = sigmoid(z_f)"),
        ({"layer_norm": "cell"}, "n = LN(c_t) * s + s'"),
        ({"zoneout": (0.1, 0.2)}, "of h_t 0.1, of c_t 0.2 is what it was before"),
        ({"clip": 3.0}, "z within [-3, 3] in each gate"),
        ({"cell_clip": 2.0}, "c_t = f * c_{t-1} + i * g, within [-2, 2]"),
        ({"output_activation": "relu"}, "h_t = o * relu(c_t)"),
        ({"recurrent_weight_dropout": 0.3}, "In training 0.3 of recurrent_kernel is dropped"),
    ],
    ids=str,
)
def test_explain_says_it(variant, said) -> None:
    assert said in words(built(**variant))


def test_the_memory_of_a_projection_is_that_of_its_arrays() -> None:
    layer = built(projection=2, outputs=("hidden_states", "cell_states"))
    taken = sum(
        np.asarray(keras.ops.convert_to_numpy(s)).nbytes for s in layer(np.ones((32, T, F)))
    )
    assert f"= {taken:,} bytes" in words(layer)


def test_the_drawing_has_the_wires() -> None:
    (plain,) = describe(built())
    assert 'stroke-dasharray="4 4"' not in draw_cell(plain)
    (flow,) = describe(built(peephole=True, coupled=True, output_transform=True, projection=2))
    drawing = draw_cell(flow)
    for part in ('stroke-dasharray="4 4"', ">1 − f<", ">W5<", ">P<", "p (10,)", "P (5, 2)"):
        assert part in drawing
    assert "With peephole=True, coupled=True" in drawing


def test_bidirectional_of_a_projection() -> None:
    model = keras.Sequential([Input((T, F)), layers.Bidirectional(LSTM(U, projection=2))])
    assert "side by side: (batch, 4)" in words(model)


# Watching it -------------------------------------------------------------------------

X = np.random.default_rng(0).normal(size=(4, T, F)).astype("float32")
SIGMOID = keras.activations.sigmoid


def model_of(**variant):
    """A layer with a mask before it and random weights, in a model."""
    names = ("hidden_states", "cell_states", "hidden_state", "cell_state")
    x = Input((T, F))
    lstm = LSTM(U, **variant, name="reader", outputs=names)
    model = keras.Model(x, lstm(layers.Masking()(x)))
    rng = np.random.default_rng(1)
    model.set_weights([rng.normal(size=w.shape) * 0.7 for w in model.weights])
    return model


@by_name
def test_trace_has_its_states_and_what_the_gates_are_functions_of(variant) -> None:
    model, x = model_of(**variant), X.copy()
    x[1, 4:] = 0
    reader = conveyor.trace(model, x, preactivations=True)["reader"]
    hs, cs, h, c = map(to_numpy, model(x))
    last = "projection" if "projection" in variant else "unit"
    for name, wanted in (("hidden_states", hs), ("cell_states", cs)):
        counts = np.isfinite(reader[name].values)
        assert counts.sum() == 22 * wanted.shape[-1]
        assert_close(reader[name].values[counts], wanted[counts])
    assert reader.hidden_states.dims == ("sample", "time", last)
    assert reader.cell_states.dims == ("sample", "time", "unit")
    assert reader.initial_hidden_state.shape == h.shape
    assert_close(reader.hidden_state.values, h)
    assert_close(reader.cell_state.values, c)
    for gate in ("input", "forget", "output"):
        z = np.nan_to_num(reader[f"{gate}_preactivations"].values)
        found = np.nan_to_num(reader[f"{gate}_gates"].values, nan=0.5)
        assert_close(np.where(found == 0.5, 0.5, 1 / (1 + np.exp(-z))), found, scale=10)
    z = np.nan_to_num(reader.candidate_preactivations.values)
    assert_close(np.tanh(z), np.nan_to_num(reader.candidates.values), scale=10)
    assert ("variant" in reader.attrs) == bool(variant)


def test_a_selection_of_units_leaves_a_projection_whole(tmp_path) -> None:
    model = model_of(projection=2)
    pytest.importorskip("zarr")
    path = tmp_path / "trace.zarr"
    tree = conveyor.trace(model, X, select={"units": [4, 1]}, to=path, batch_size=3)
    assert tree["reader"].sizes == {"sample": 4, "time": T, "unit": 2, "projection": 2}
    assert_close(tree["reader"].hidden_states.values, model(X)[0])


@by_name
def test_memory_adds_up_or_says_why_not(variant) -> None:
    trace = conveyor.trace(model_of(**variant), X)
    if "zoneout" in variant or "cell_clip" in variant:
        with pytest.raises(ConveyorError, match=r"those of a layer with .*(zoneout|cell_clip)"):
            conveyor.memory(trace)
        return
    parts = conveyor.memory(trace)["reader"]
    assert_close(parts.contribution.sum("time") + parts.initial, parts.cell_state)


def test_health_and_report_of_a_projection(tmp_path) -> None:
    model = model_of(projection=2, peephole=True)
    trace = conveyor.trace(model, X)
    assert len(conveyor.health(trace).layers["reader"].half_life) == U
    page = conveyor.report(model, X, tmp_path / "report.html")
    assert "P (5, 2)" in page.read_text()


def test_plots_of_a_projection_are_refused_by_name() -> None:
    pytest.importorskip("matplotlib").use("Agg")
    reader = conveyor.trace(model_of(projection=2), X)["reader"]
    conveyor.plot_states(reader, "cell_states", sample=0)
    with pytest.raises(ConveyorError, match="those of a projection"):
        conveyor.plot_states(reader, "hidden_states", sample=0)


@by_name
def test_the_first_number_that_is_none(variant) -> None:
    model = model_of(**variant)
    assert conveyor.find_nonfinite(model, X) is None
    x = X.copy()
    x[2, 3, 1] = np.inf
    assert conveyor.find_nonfinite(model, x).kind == "input"
    weight = model.layers[-1].weights[-1]
    values = to_numpy(weight).copy()
    values[..., -1] = np.nan
    weight.assign(values)
    found = conveyor.find_nonfinite(model, X)
    assert (found.kind, found.name, found.unit) == (
        "weight",
        weight.name,
        min(U, values.shape[-1]) - 1,
    )


@by_name
def test_check_knows_it_in_float64(variant) -> None:
    table = str(conveyor.check(model_of(**variant), X))
    assert "float64" in table
    assert "FAILED" not in table


def test_memory_estimate_counts_its_weights() -> None:
    x = Input((None, F))
    for variant in VARIANTS.values():
        model = keras.Model(x, LSTM(U, **variant, remat=4)(x))
        estimate = conveyor.memory_estimate(model, batch=2, time_steps=100)
        assert estimate.needs[0].inference == 4 * model.count_params()
        assert estimate.at_least
