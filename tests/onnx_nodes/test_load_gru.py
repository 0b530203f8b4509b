"""GRU nodes as layers: the numbers of ONNX Runtime and of onnx's own tests, or a refusal."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conveyor import ConveyorError
from frameworks import to_numpy

from .node_tests import node_tests

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from conveyor.onnx import load_gru  # noqa: E402

B, T, F, U = 3, 5, 2, 4
RNG = np.random.default_rng(0)


def graph(bias=True, inputs=6, name="it", **attributes):
    """A model of one node, with random weights."""
    count = 2 if attributes.get("direction") == "bidirectional" else 1
    shapes = {"W": (count, 3 * U, F), "R": (count, 3 * U, U), "B": (count, 6 * U)}
    names = ["X", "W", "R", "B" if bias else "", "lengths", "h", "", "B"][:inputs]
    node = helper.make_node("GRU", names, ["Y", "Y_h"], name=name, hidden_size=U, **attributes)
    sizes = {"X": (T, B, F), "h": (count, B, U)}
    known = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in sizes.items()]
    known.append(helper.make_tensor_value_info("lengths", TensorProto.INT32, [B]))
    made = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, [None] * rank)
        for n, rank in (("Y", 4), ("Y_h", 3))
    ]
    constants = [
        numpy_helper.from_array(RNG.normal(size=s).astype("float32"), n) for n, s in shapes.items()
    ]
    whole = helper.make_graph([node], "g", known, made, constants)
    return helper.make_model(whole, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)


def by_layer(layer, x, h, lengths):
    """Y and Y_h of x (T, B, F) and h (D, B, U), with ONNX's axes and zeros."""
    x, (steps, batch, _) = x.swapaxes(0, 1), x.shape
    within = np.arange(steps) < lengths[:, None]
    if isinstance(layer, keras.layers.Bidirectional):
        y, *last = layer(x, initial_state=list(h), mask=within)
        y = to_numpy(y).reshape(batch, steps, 2, -1)
    else:
        y, *last = layer(x, h[0], lengths=lengths)
        y = to_numpy(y)[:, ::-1] if layer.go_backwards else to_numpy(y)
        y = y[:, :, None]
    y = y * within[:, :, None, None]
    return y.transpose(1, 2, 0, 3), np.stack([to_numpy(state) for state in last])


NODES = {
    "forward": {},
    "reverse": {"direction": "reverse", "linear_before_reset": 1},
    "both": {"direction": "bidirectional", "linear_before_reset": 1, "bias": False},
    "activations": {
        "direction": "bidirectional",
        "activations": ["HardSigmoid", "ScaledTanh", "Sigmoid", "Elu"],
        "activation_alpha": [0.3, 0.7, 0.5],
        "activation_beta": [0.4, 0.9],
    },
}


@pytest.mark.parametrize("name", NODES)
def test_the_numbers_of_onnx_runtime(name):
    model = graph(**NODES[name])
    count = len(numpy_helper.to_array(model.graph.initializer[0]))
    x, h = (RNG.normal(size=s).astype("float32") for s in ((T, B, F), (count, B, U)))
    lengths = np.array([T, 2, 1], "int32")
    session = runtime.InferenceSession(model.SerializeToString())
    wanted = session.run(None, {"X": x, "h": h, "lengths": lengths})
    layer = load_gru(model)
    for actual, expected in zip(by_layer(layer, x, h, lengths), wanted, strict=True):
        np.testing.assert_allclose(actual, expected, atol=2e-5)


@pytest.mark.parametrize("case", node_tests("GRU"), ids=lambda case: case.name)
def test_the_tests_of_the_onnx_package(case):
    model, (values, wanted) = case.model, case.data_sets[0]
    node = model.graph.node[0]
    given = dict(zip((known.name for known in model.graph.input), values, strict=True))
    for known in node.input[1:4]:
        model.graph.initializer.append(numpy_helper.from_array(given[known], known))
    batch_first = any(a.name == "layout" and a.i for a in node.attribute)
    x = given["X"].swapaxes(0, 1) if batch_first else given["X"]
    count, units = len(given["W"]), given["R"].shape[2]
    h = np.zeros((count, x.shape[1], units), "float32")
    y, y_h = by_layer(load_gru(model), x, h, np.full(x.shape[1], len(x)))
    if batch_first:
        y, y_h = y.transpose(2, 0, 1, 3), y_h.swapaxes(0, 1)
    for value, expected in zip((y, y_h)[-len(wanted) :], wanted, strict=True):
        np.testing.assert_allclose(value, expected, atol=1e-5)


REFUSED = {
    "clip=0.5": {"clip": 0.5},
    "Cosine": {"activations": ["Sigmoid", "Cosine"]},
    "3 activations": {"activations": ["Sigmoid", "Tanh", "Tanh"]},
    "input_forget": {"input_forget": 1},
    "linear_before_reset=2": {"linear_before_reset": 2},
    "six inputs": {"inputs": 8},
}


@pytest.mark.any_backend
@pytest.mark.parametrize("what", REFUSED)
def test_what_is_refused(what):
    with pytest.raises(ConveyorError, match=what):
        load_gru(graph(**REFUSED[what]))


@pytest.mark.any_backend
def test_one_of_several():
    model = graph()
    model.graph.node.append(graph(name="other").graph.node[0])
    with pytest.raises(ConveyorError, match=r"'it', 'other'(.|\n)*load_gru\(path, name="):
        load_gru(model)
    assert load_gru(model, "other").units == U


WHOLE = graph(linear_before_reset=1).SerializeToString()


@pytest.mark.any_backend
@given(flips=st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), max_size=4))
@settings(max_examples=60)
def test_flipped_bytes_are_refused_or_read(flips, tmp_path):
    damaged = bytearray(WHOLE)
    for place, byte in flips:
        damaged[place] = byte
    (tmp_path / "it.onnx").write_bytes(damaged)
    try:
        assert load_gru(tmp_path / "it.onnx").units == U
    except ConveyorError:
        assert bytes(damaged) != WHOLE
