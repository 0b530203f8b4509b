"""ONNX files that are cut off, damaged or made to do harm: an error that says so, and no more."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conveyor import ConveyorError

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from conveyor.onnx import load_lstm  # noqa: E402

F, U = 2, 3
pytestmark = pytest.mark.any_backend


def model(**attributes):
    rng = np.random.default_rng(0)
    shapes = {"W": (1, 4 * U, F), "R": (1, 4 * U, U), "B": (1, 8 * U)}
    constants = [
        numpy_helper.from_array(rng.normal(size=shape).astype("float32"), name)
        for name, shape in shapes.items()
    ]
    node = helper.make_node("LSTM", ["X", *shapes], ["Y"], name="it", **attributes)
    x = helper.make_tensor_value_info("X", TensorProto.FLOAT, [5, 1, F])
    y = helper.make_tensor_value_info("Y", TensorProto.FLOAT, [5, 1, 1, U])
    graph = helper.make_graph([node], "g", [x], [y], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)


WHOLE = model(hidden_size=U, direction="forward").SerializeToString()


def load(folder, data):
    """The layer, or None where the file is refused in conveyor's words."""
    path = folder / "it.onnx"
    path.write_bytes(data)
    tracemalloc.start()
    try:
        return load_lstm(path)
    except ConveyorError:
        return None
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 20e6


def test_the_whole_file(tmp_path):
    assert load(tmp_path, WHOLE).units == U


@given(end=st.integers(0, len(WHOLE) - 1))
@settings(max_examples=100)
def test_cut_off_anywhere(end, tmp_path):
    assert load(tmp_path, WHOLE[:end]) is None


@given(flips=st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), max_size=4))
@settings(max_examples=300)
def test_flipped_bytes(flips, tmp_path):
    damaged = bytearray(WHOLE)
    for place, byte in flips:
        damaged[place] = byte
    layer = load(tmp_path, bytes(damaged))
    assert layer is None or layer.units == U


def test_a_signalling_nan(tmp_path):
    made = onnx.ModelProto.FromString(WHOLE)
    bias = made.graph.initializer[2]
    bias.raw_data = np.uint32(0x7FA00000).tobytes() + bias.raw_data[4:]
    layer = load(tmp_path, made.SerializeToString())
    assert np.isnan(layer.cell.bias).sum() == 1


@given(
    which=st.integers(0, 2),
    dims=st.lists(st.sampled_from([-1, 0, 1, 2, 4, 12, 10**6, 10**12, 2**62]), max_size=4),
)
@settings(max_examples=60)
def test_shapes_that_are_not_those_of_the_numbers(which, dims, tmp_path):
    made = onnx.ModelProto.FromString(WHOLE)
    del made.graph.initializer[which].dims[:]
    made.graph.initializer[which].dims.extend(dims)
    assert load(tmp_path, made.SerializeToString()) is None
    with pytest.raises(ConveyorError):
        load_lstm(made)


@pytest.mark.parametrize(
    "kind", ["INT32", "STRING", "FLOAT8E4M3FN", "UINT4", "COMPLEX64", "DOUBLE"]
)
def test_weights_of_another_type(kind, tmp_path):
    made = onnx.ModelProto.FromString(WHOLE)
    made.graph.initializer[1].data_type = getattr(TensorProto, kind)
    assert load(tmp_path, made.SerializeToString()) is None


def beside(location, **more):
    """The model with the numbers of R in another file."""
    made = onnx.ModelProto.FromString(WHOLE)
    tensor = made.graph.initializer[1]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **more}.items():
        tensor.external_data.add(key=key, value=str(value))
    return made


@pytest.mark.parametrize(
    "location", ["/etc/passwd", "../secret", "sub/../../secret", "", "missing"]
)
def test_numbers_outside_of_the_folder(location, tmp_path):
    (tmp_path / "secret").write_bytes(bytes(4 * 4 * U * U))
    (tmp_path / "in").mkdir()
    assert load(tmp_path / "in", beside(location).SerializeToString()) is None
    with pytest.raises(ConveyorError, match="in a file beside it"):
        load_lstm(beside(location))


def test_a_link_out_of_the_folder(tmp_path):
    (tmp_path / "secret").write_bytes(bytes(4 * 4 * U * U))
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "link").symlink_to(tmp_path / "secret")
    assert load(tmp_path / "in", beside("link").SerializeToString()) is None


@pytest.mark.parametrize("more", [{}, {"length": 10**15}, {"offset": 10**15}, {"length": -1}])
def test_numbers_beside_it(more, tmp_path):
    (tmp_path / "weights").write_bytes(bytes(4 * 4 * U * U))
    layer = load(tmp_path, beside("weights", **more).SerializeToString())
    assert (layer is not None) == (not more)


ATTRIBUTES = {
    "direction=up": {"direction": "up"},
    "1 directions": {"direction": "bidirectional"},
    "2 activations": {"activations": ["Tanh", "Tanh"]},
    "hidden_size=1000000000": {"hidden_size": 10**9},
    "layout=7": {"layout": 7},
    "attribute direction, of type 2": {"direction": 1},
    "attribute activations, of type 1": {"activations": 0.5},
    "attribute colour": {"colour": 1},
}


@pytest.mark.parametrize("message", ATTRIBUTES)
def test_attributes_that_do_not_fit(message):
    with pytest.raises(ConveyorError, match=message):
        load_lstm(model(**ATTRIBUTES[message]))


def test_what_is_no_file_of_onnx(tmp_path):
    for data in (b"", b"\x00" * 100, b"PK\x03\x04", "text".encode("utf-16")):
        assert load(tmp_path, data) is None
    with pytest.raises(ConveyorError, match="missing"):
        load_lstm(tmp_path / "missing.onnx")
