"""LSTM nodes as layers: the numbers of the specification, or a refusal by name."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conveyor import ConveyorError
from frameworks import to_numpy

from .node_tests import node_tests

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from conveyor.onnx import load_lstm  # noqa: E402
from conveyor.onnx._node import read_node  # noqa: E402
from conveyor.onnx._specification import run  # noqa: E402

B, T, F, U = 3, 5, 2, 4
RNG = np.random.default_rng(0)


def graph(*, bias=True, peepholes=False, dtype="float32", name="it", **attributes):
    """A model of one node, with random weights."""
    count = 2 if attributes.get("direction") == "bidirectional" else 1
    arrays = {
        "W": RNG.normal(size=(count, 4 * U, F)) * 0.2,
        "R": RNG.normal(size=(count, 4 * U, U)) * 0.2,
        "B": RNG.normal(size=(count, 8 * U)) * 0.2 if bias else None,
        "P": RNG.normal(size=(count, 3 * U)) if peepholes else None,
    }
    names = ["X", "W", "R", "B" if bias else "", "lengths", "h", "c", "P" if peepholes else ""]
    node = helper.make_node(
        "LSTM", names, ["Y", "Y_h", "Y_c"], name=name, hidden_size=U, **attributes
    )
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    layout = attributes.get("layout", 0)
    state = [B, count, U] if layout else [count, B, U]
    shapes = {"X": [B, T, F] if layout else [T, B, F], "h": state, "c": state}
    inputs = [helper.make_tensor_value_info(n, kind, s) for n, s in shapes.items()]
    inputs.append(helper.make_tensor_value_info("lengths", TensorProto.INT32, [B]))
    outputs = [
        helper.make_tensor_value_info(n, kind, [None] * rank)
        for n, rank in (("Y", 4), ("Y_h", 3), ("Y_c", 3))
    ]
    constants = [
        numpy_helper.from_array(a.astype(dtype), n) for n, a in arrays.items() if a is not None
    ]
    made = helper.make_graph([node], "g", inputs, outputs, constants)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 14)])
    model.ir_version = 8
    return model


def inputs(model, lengths=(T, 2, 0)):
    values = {
        i.name: RNG.normal(size=[d.dim_value for d in i.type.tensor_type.shape.dim])
        for i in model.graph.input
    }
    dtype = helper.tensor_dtype_to_np_dtype(model.graph.input[0].type.tensor_type.elem_type)
    values = {name: value.astype(dtype) for name, value in values.items()}
    return {**values, "lengths": np.array(lengths, "int32")}


def expected(model, given):
    node = read_node(model, model.graph.node[0])
    return node, run(node, given["X"], given["lengths"], given["h"], given["c"])


def by_layer(layer, node, given):
    """What the layer gives, with ONNX's axes and zeros."""
    x, h, c = given["X"], given["h"], given["c"]
    if not node.layout:
        x, h, c = x.swapaxes(0, 1), h.swapaxes(0, 1), c.swapaxes(0, 1)
    batch, steps, units = *x.shape[:2], node.units
    within = np.arange(steps) < given["lengths"][:, None]
    if isinstance(layer, keras.layers.Bidirectional):
        states = [h[:, 0], c[:, 0], h[:, 1], c[:, 1]]
        y, *last = layer(x, initial_state=states, mask=within)
        y = to_numpy(y).reshape(batch, steps, 2, units)
        y_h, y_c = (np.stack([to_numpy(a), to_numpy(b)], 1) for a, b in (last[::2], last[1::2]))
    else:
        y, y_h, y_c = map(to_numpy, layer(x, [h[:, 0], c[:, 0]], lengths=given["lengths"]))
        y = y[:, ::-1] if layer.go_backwards else y
        y, y_h, y_c = y[:, :, None], y_h[:, None], y_c[:, None]
    y = y * within[:, :, None, None]
    if node.layout:
        return y, y_h, y_c
    return y.transpose(1, 2, 0, 3), y_h.swapaxes(0, 1), y_c.swapaxes(0, 1)


SAME = ["Tanh", "Relu", "Softsign", "Softplus", "Affine", "LeakyRelu", "ScaledTanh", "Elu"]
GATES = ["Sigmoid", "HardSigmoid", "Softsign", "ThresholdedRelu", "Affine", "Relu", "Tanh"]


@given(
    direction=st.sampled_from(["forward", "reverse", "bidirectional"]),
    layout=st.integers(0, 1),
    bias=st.booleans(),
    gates=st.sampled_from(GATES),
    candidate=st.sampled_from(SAME),
    out=st.sampled_from(SAME),
    peepholes=st.booleans(),
    input_forget=st.integers(0, 1),
    clip=st.sampled_from([None, 0.25]),
    alphas=st.lists(st.sampled_from([0.1, 0.3, 1 / 6]), max_size=6),
    betas=st.lists(st.sampled_from([0.1, 0.5]), max_size=6),
)
def test_any_node_has_the_numbers_of_the_specification(
    direction, layout, bias, gates, candidate, out, peepholes, input_forget, clip, alphas, betas
):
    count = 2 if direction == "bidirectional" else 1
    attributes = {"activation_alpha": alphas} if alphas else {}
    attributes |= {"activation_beta": betas} if betas else {}
    attributes |= {} if clip is None else {"clip": clip}
    model = graph(
        bias=bias,
        peepholes=peepholes,
        direction=direction,
        layout=layout,
        activations=[gates, candidate, out] * count,
        input_forget=input_forget,
        **attributes,
    )
    given = inputs(model)
    node, wanted = expected(model, given)
    if input_forget and any(f.name != "sigmoid" and f.beta != 0.5 for f, _, _ in node.activations):
        with pytest.raises(ConveyorError, match="input_forget=1"):
            load_lstm(model)
        return
    for actual, value in zip(by_layer(load_lstm(model), node, given), wanted, strict=True):
        np.testing.assert_allclose(actual, value, atol=5e-5, rtol=5e-4)


VARIANTS = {
    "plain": {},
    "two directions": {"direction": "bidirectional"},
    "reverse": {"direction": "reverse"},
    "peepholes": {"peepholes": True},
    "input_forget": {"input_forget": 1, "peepholes": True},
    "clip": {"clip": 0.1, "peepholes": True},
    "all": {
        "clip": 0.1,
        "peepholes": True,
        "input_forget": 1,
        "direction": "bidirectional",
        "activations": ["Sigmoid", "Softsign", "Relu"] * 2,
    },
    "activations": {"activations": ["HardSigmoid", "Softsign", "LeakyRelu"]},
    "alphas": {
        "activations": ["HardSigmoid", "Affine", "ScaledTanh"],
        "activation_alpha": [0.3, 0.5, 0.7],
        "activation_beta": [0.4, 0.1, 0.9],
    },
}


@pytest.mark.any_backend
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_specification_is_onnx_runtimes(variant):
    runtime = pytest.importorskip("onnxruntime")
    model = graph(**VARIANTS[variant])
    given = inputs(model, lengths=(T, 2, 1))
    actual = runtime.InferenceSession(model.SerializeToString()).run(None, given)
    for a, e in zip(actual, expected(model, given)[1], strict=True):
        np.testing.assert_allclose(a, e, atol=2e-5)


@pytest.mark.parametrize("variant", ["input_forget", "all"])
def test_the_forget_gate_of_the_input_gate(variant):
    model = graph(**VARIANTS[variant])  # whose weights of the forget gate nothing reads
    given = inputs(model)
    node, wanted = expected(model, given)
    layer = load_lstm(model)
    for actual, value in zip(by_layer(layer, node, given), wanted, strict=True):
        np.testing.assert_allclose(actual, value, atol=2e-5)


@pytest.mark.parametrize("case", node_tests("LSTM"), ids=lambda case: case.name)
def test_the_tests_of_the_onnx_package(case):
    model, (values, wanted) = case.model, case.data_sets[0]
    node = model.graph.node[0]
    given = dict(zip((known.name for known in model.graph.input), values, strict=True))
    for place in (1, 2, 3, 7):
        if place < len(node.input) and node.input[place]:
            known = node.input[place]
            model.graph.initializer.append(numpy_helper.from_array(given[known], known))
    read = read_node(model, node)
    x = given[node.input[0]]
    names = [name for name, output in zip(("Y", "Y_h", "Y_c"), node.output, strict=False) if output]
    outputs = dict(zip(("Y", "Y_h", "Y_c"), run(read, x), strict=True))
    for name, value in zip(names, wanted, strict=True):
        np.testing.assert_allclose(outputs[name], value, atol=1e-5)
    count = len(read.w)
    state = np.zeros(
        (len(x), count, read.units) if read.layout else (count, x.shape[1], read.units)
    )
    lengths = np.full(len(x) if read.layout else x.shape[1], x.shape[1] if read.layout else len(x))
    start = {"X": x, "h": state.astype("float32"), "c": state.astype("float32"), "lengths": lengths}
    outputs = dict(zip(("Y", "Y_h", "Y_c"), by_layer(load_lstm(model), read, start), strict=True))
    for name, value in zip(names, wanted, strict=True):
        np.testing.assert_allclose(outputs[name], value, atol=1e-5)


REFUSED = {
    "clip=-0.5": {"clip": -0.5},
    "input_forget=1.*softsign": {"input_forget": 1, "activations": ["Softsign", "Tanh", "Tanh"]},
    "Cosine": {"activations": ["Sigmoid", "Cosine", "Tanh"]},
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_the_layer_does_not_have(what):
    with pytest.raises(ConveyorError, match=f"(?s){what}"):
        load_lstm(graph(**REFUSED[what]))


def test_one_of_several(tmp_path):
    model, other = graph(), graph(name="other")
    node = other.graph.node[0]
    for n, name in enumerate(node.output):
        node.output[n] = f"{name}2"
    model.graph.node.append(node)
    onnx.save(model, tmp_path / "two.onnx")
    with pytest.raises(ConveyorError, match="'it', 'other'"):
        load_lstm(tmp_path / "two.onnx")
    assert load_lstm(tmp_path / "two.onnx", name="other").units == U
    (tmp_path / "cut.onnx").write_bytes((tmp_path / "two.onnx").read_bytes()[:99])
    with pytest.raises(ConveyorError, match="ONNX model"):
        load_lstm(tmp_path / "cut.onnx")


def test_its_activations_survive_a_file(tmp_path):
    layer = load_lstm(
        graph(
            activations=["HardSigmoid", "Elu", "ScaledTanh"],
            activation_alpha=[0.3, 0.5, 0.7],
            peepholes=True,
            input_forget=1,
            clip=0.3,
        )
    )
    model = keras.Sequential([keras.Input((T, F)), layer])
    model.save(tmp_path / "model.keras")
    x = RNG.normal(size=(B, T, F)).astype("float32")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(to_numpy(loaded(x)[0]), to_numpy(model(x)[0]), atol=1e-6)
