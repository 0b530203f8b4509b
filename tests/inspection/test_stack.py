"""What inspection says of a layer of several LSTMs: each by itself, under its own name."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

import conveyor
from conveyor import LSTM, ConveyorError
from frameworks import assert_close, to_numpy

X = np.random.default_rng(0).normal(size=(2, 6, 3)).astype("float32")
NAMES = [f"reader/layer_{n}_{way}" for n in (0, 1) for way in ("forward", "backward")]


def model_of(**arguments):
    arguments = {"num_layers": 2, "bidirectional": True, "name": "reader", **arguments}
    return keras.Sequential([keras.Input((6, 3)), LSTM(4, **arguments), layers.Dense(1)])


def test_explain() -> None:
    flows = conveyor.explain(model_of()).flows
    assert [flow.name for flow in flows] == NAMES
    assert [flow.features for flow in flows] == [3, 3, 8, 8]
    assert [flow.direction for flow in flows] == ["forward", "backward"] * 2
    assert [flow.returned[0].shape for flow in flows] == [(None, 6, 4)] * 2 + [(None, 4)] * 2
    assert {flow.returned[0].because for flow in flows[:2]} == {"num_layers=2"}
    said = str(conveyor.explain(LSTM(4, num_layers=3, return_state=True), (20, 5)))
    assert [f.name for f in conveyor.explain(model_of().layers[0]).flows] == NAMES
    for words in ("layer_0", "layer_2", "(batch, 20, 4)", "torch_states"):
        assert words in said
    unbuilt = conveyor.explain(LSTM(4, num_layers=2, bidirectional=True, merge_mode="sum"), (9, 5))
    assert [flow.features for flow in unbuilt.flows] == [5, 5, 4, 4]
    assert [flow.merge_mode for flow in unbuilt.flows] == ["sum"] * 4
    apart = conveyor.explain(LSTM(4, num_layers=2, bidirectional=True, merge_mode=None), (9, 5))
    assert [flow.merge_mode for flow in apart.flows] == ["concat"] * 2 + ["list"] * 2


def test_trace() -> None:
    pytest.importorskip("xarray")
    model = model_of()
    tree = conveyor.trace(model, X)
    states = model.layers[0].every_state(X)
    for name, state in zip(NAMES, states.flat(), strict=True):
        for state_name in ("cell_states", "forget_gates", "hidden_state"):
            assert_close(tree[name][state_name].to_numpy(), state[state_name])
    assert tree[NAMES[1]].attrs["direction"] == "backward"
    assert len(conveyor.trace(model, X, select={"layers": ["reader/layer_0_backward"]}).leaves) == 1


def test_gradient_flow_and_what_a_layer_on_top_changes() -> None:
    model = model_of()
    model.compile("sgd", "mse")
    shown = str(conveyor.gradient_flow(model, X, np.ones((2, 1), "float32")))
    assert all(name in shown for name in NAMES)


def test_memory_estimate() -> None:
    one = model_of(bidirectional=False, return_sequences=True)
    two = keras.Sequential(
        [keras.Input((6, 3)), *(LSTM(4, return_sequences=True) for _ in range(2)), layers.Dense(1)]
    )
    estimates = [conveyor.memory_estimate(model, 8, 6) for model in (one, two)]
    assert estimates[0].training == estimates[1].training
    assert estimates[0].inference == estimates[1].inference
    kept = [need.what for need in conveyor.memory_estimate(model_of(), 8, 6).needs]
    assert f"{NAMES[3]}: kept for its gradient" in kept


def test_check() -> None:
    report = conveyor.check(model_of(bidirectional=False), X, verbose=False)
    compared = {row.path: row.difference for row in report.rows}
    assert compared["portable engine"] < 1e-5
    assert compared["streaming"] < 1e-5
    both = conveyor.check(model_of(), X, verbose=False)
    assert (
        "reads the last time step first" in {row.path: row.note for row in both.rows}["streaming"]
    )


def test_worked_example_wants_one() -> None:
    layer = model_of().layers[0]
    with pytest.raises(ConveyorError, match=r"parts\[0\]\[0\]"):
        conveyor.worked_example(layer, X)
    example = conveyor.worked_example(layer.parts[0][0], X)
    assert example is not None
    with pytest.raises(ConveyorError, match="symbolic"):
        layer.every_state(keras.Input((6, 3)))
    assert to_numpy(layer(X)).shape == (2, 8)
