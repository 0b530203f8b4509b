"""A layer of several LSTMs as nodes: one for each of its layers."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from conveyor import LSTM, ConveyorError

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from conveyor.onnx import export  # noqa: E402

from .exported import outputs, padded, randomized, run, session  # noqa: E402

F = 3


def model_of(masked=True, **arguments):
    x = keras.Input((None, F))
    y = LSTM(4, name="reader", **arguments)(layers.Masking()(x) if masked else x)
    return randomized(keras.Model(x, y))


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(
    "arguments",
    [
        {"num_layers": 3, "return_sequences": True, "return_state": True},
        {"num_layers": 2, "return_sequences": True, "go_backwards": True},
        {"num_layers": 2, "initial_state": "learned", "inter_layer_dropout": 0.3},
        {"num_layers": 2, "outputs": ("cell_states", "hidden_state", "input_gates")},
        {"num_layers": 2, "bidirectional": True, "return_sequences": True, "return_state": True},
        {"num_layers": 2, "bidirectional": True, "initial_state": "learned", "use_bias": False},
        {"bidirectional": True, "merge_mode": "sum", "return_sequences": True,
         "zero_output_for_mask": True},
        {"num_layers": 2, "bidirectional": True, "merge_mode": "ave", "zero_output_for_mask": True},
        {"num_layers": 2, "bidirectional": True, "merge_mode": None, "return_state": True},
        {"num_layers": 2, "bidirectional": True,
         "outputs": ("cell_state", "hidden_states", "forget_gates")},
        {"bidirectional": True, "merge_mode": None, "outputs": ("hidden_states", "cell_state")},
    ],
    ids=str,
)  # fmt: skip
def test_same_numbers(arguments, masked, tmp_path) -> None:
    model = model_of(masked, **arguments)
    known = session(model, tmp_path)
    for lengths, steps in (([5, 2], 5), ([7, 7, 1], 8)):
        x = padded(lengths, steps)
        for a, e in zip(run(known, x), outputs(model, x), strict=True):
            np.testing.assert_allclose(a, e, atol=2e-6)


def test_states_given_by_another() -> None:
    x = keras.Input((None, F))
    _, *states = LSTM(4, num_layers=2, bidirectional=True, return_state=True)(x)
    y = LSTM(4, num_layers=2, bidirectional=True, return_sequences=True)(x, initial_state=states)
    model = randomized(keras.Model(x, y))
    built = export_in_memory(model)
    given = padded([6, 3], 6)
    np.testing.assert_allclose(run(built, given)[0], outputs(model, given)[0], atol=2e-6)


def export_in_memory(model):
    import onnxruntime

    from conveyor.layers._graph import graph_of
    from conveyor.onnx._builder import Builder
    from conveyor.onnx._export import build_model

    written = build_model(Builder(17), graph_of(model, "test"), "model").SerializeToString()
    return onnxruntime.InferenceSession(written)


def test_one_node_a_layer(tmp_path) -> None:
    model = model_of(False, num_layers=3, bidirectional=True, return_sequences=True)
    path = export(model, tmp_path / "model.onnx", verbose=False)
    nodes = [node for node in onnx.load(path).graph.node if node.op_type == "LSTM"]
    found = [[a.s for a in node.attribute if a.name == "direction"] for node in nodes]
    assert found == [[b"bidirectional"]] * 3


def test_chunks(tmp_path) -> None:
    model = model_of(False, num_layers=2, return_sequences=True)
    known = session(model, tmp_path, states=True)
    x = padded([6], 6)
    states = {
        i.name: np.zeros((1, 4), "float32") for i in known.get_inputs() if i.name.startswith("r")
    }
    assert len(states) == 4
    names, found = [o.name for o in known.get_outputs()], []
    for chunk in (x[:, :4], x[:, 4:]):
        first = next(i.name for i in known.get_inputs() if i.name not in states)
        made = dict(zip(names, known.run(None, {first: chunk, **states}), strict=True))
        found.append(next(v for n, v in made.items() if not n.endswith(".next")))
        states = {name: made[f"{name}.next"] for name in states}
    np.testing.assert_allclose(np.concatenate(found, 1), outputs(model, x)[0], atol=2e-6)
    both = model_of(False, bidirectional=True, return_sequences=True)
    with pytest.raises(ConveyorError, match="reads the last step first"):
        export(both, tmp_path / "no.onnx", states=True, verbose=False)
