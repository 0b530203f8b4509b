"""GRUs there and back, and what each side computes with them."""

from __future__ import annotations

import functools

import keras
import numpy as np
import pytest
from keras import layers

from conveyor import GRU, LSTM, ConveyorError, convert
from conveyor.convert import GRUCellWeights, GRUWeights
from conveyor.convert._gru_layouts import GRU_LAYOUTS, pack_gru, unpack_gru
from conveyor.convert._gru_reference import gru_hidden_states
from frameworks import to_numpy

RNG = np.random.default_rng(0)
X = RNG.normal(size=(2, 6, 3)).astype("float32")


def cell(features, units=4, *, bias=True, reset_after=True, dtype="float32"):
    shapes = [(features, 3 * units), (units, 3 * units)]
    shapes += [(2, 3 * units) if reset_after else (3 * units,)] if bias else []
    arrays = [0.5 * RNG.normal(size=shape).astype(dtype) for shape in shapes]
    return GRUCellWeights(*arrays, *([] if bias else [None]), reset_after)


def weights(count=2, directions=2, **options):
    return GRUWeights(
        tuple(
            tuple(cell(4 * directions if n else 3, **options) for _ in range(directions))
            for n in range(count)
        )
    )


def assert_equal(actual, expected):
    for mine, theirs in zip(actual.cells, expected.cells, strict=True):
        assert mine.reset_after == theirs.reset_after
        for name in ("kernel", "recurrent_kernel"):
            np.testing.assert_array_equal(getattr(mine, name), getattr(theirs, name))
        np.testing.assert_array_equal(mine.two_biases(), theirs.two_biases())


KINDS = {
    "many": weights(),
    "one without bias": weights(1, 1, bias=False),
    "before": weights(reset_after=False),
    "float64": weights(2, 1, dtype="float64"),
}


@pytest.mark.any_backend
@pytest.mark.parametrize("layout", GRU_LAYOUTS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_layout_there_and_back(kind, layout):
    given, form = KINDS[kind], kind != "before"
    if not form and not GRU_LAYOUTS[layout].both_forms:
        with pytest.raises(ConveyorError, match="reset_after=False"):
            pack_gru(given, layout)
        return
    again = unpack_gru(pack_gru(given, layout), layout, form)
    if layout != "flax":
        assert_equal(again, given)
    # flax adds the two biases of the gates up.
    np.testing.assert_allclose(gru_hidden_states(again, X), gru_hidden_states(given, X), atol=1e-6)


@pytest.mark.any_backend
def test_torch():
    torch = pytest.importorskip("torch")
    for kind in ("many", "one without bias", "float64"):
        mine = KINDS[kind]
        module = convert.to_torch(mine, verbose=False)
        x = torch.from_numpy(X.astype(mine.dtype))
        assert isinstance(module, torch.nn.GRU)
        np.testing.assert_allclose(module(x)[0].detach(), gru_hidden_states(mine, X), atol=2e-6)
        assert_equal(convert.weights_of(module), mine)
        assert_equal(convert.weights_of(module.state_dict()), mine)
    single = torch.nn.GRUCell(3, 4)
    np.testing.assert_allclose(
        gru_hidden_states(convert.weights_of(single), X[:, :1])[:, 0],
        single(torch.from_numpy(X[:, 0])).detach(),
        atol=2e-6,
    )
    both = torch.nn.ModuleDict({"lstm": torch.nn.LSTM(3, 4), "gru": torch.nn.GRU(3, 4)})
    assert isinstance(convert.weights_of(both, "gru"), GRUWeights)
    with pytest.raises(ConveyorError, match="of 'lstm', 'gru'"):
        convert.weights_of(both)
    with pytest.raises(ConveyorError, match=r"got an nn\.RNN"):
        convert.weights_of(torch.nn.RNN(3, 4))


def keras_layers():
    return {
        "one": layers.GRU(4),
        "before, no bias": layers.GRU(4, reset_after=False, use_bias=False, return_state=True),
        "ours, before": GRU(4, reset_after=False, outputs=("update_gates", "hidden_state")),
        "both": layers.Bidirectional(GRU(4, return_sequences=True)),
        "cells": layers.RNN([layers.GRUCell(4), layers.GRUCell(2)]),
    }


@pytest.mark.parametrize("name", keras_layers())
def test_keras(name, capsys):
    layer = keras_layers()[name]
    layer.build((None, None, 3))
    layer.set_weights([0.5 * RNG.normal(size=w.shape) for w in layer.get_weights()])
    model = convert.to_keras(layer)
    assert "conveyor.GRU" in capsys.readouterr().out
    expected = gru_hidden_states(convert.weights_of(layer), X)
    np.testing.assert_allclose(to_numpy(model(X)), expected, atol=2e-6)
    for mine, theirs in zip(model.get_weights(), layer.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_a_model_and_its_layers():
    model = keras.Sequential([keras.Input((None, 3)), layers.GRU(4, name="gru"), layers.Dense(2)])
    assert convert.weights_of(model).layers[0][0].units == 4
    x = keras.Input((None, 3))
    y = LSTM(5, return_sequences=True, name="lstm")(layers.GRU(4, return_sequences=True)(x))
    model = keras.Model(x, layers.GRU(2, name="top")(y))
    assert isinstance(convert.weights_of(model), convert.LSTMWeights)
    assert convert.weights_of(model, "top").layers[0][0].units == 2


@pytest.mark.any_backend
@pytest.mark.parametrize("kind", ["many", "one without bias", "before"])
def test_onnx(kind, capsys):
    pytest.importorskip("onnxruntime")
    model = convert.to_onnx(KINDS[kind])
    assert "ONNX Runtime" in capsys.readouterr().out
    assert_equal(convert.weights_of(model), KINDS[kind])
    model.graph.node[1].attribute.add(name="clip", type=1, f=0.5)
    with pytest.raises(ConveyorError, match=r"clip=0\.5"):
        convert.weights_of(model)


@pytest.mark.any_backend
def test_flax(capsys):
    pytest.importorskip("flax")
    mine = weights(1, 1)
    params = convert.to_flax(mine)
    shown = capsys.readouterr().out
    assert "flax GRUCell" in shown
    assert "not run" not in shown
    again = convert.weights_of({"params": {"cell": params}})
    np.testing.assert_allclose(gru_hidden_states(again, X), gru_hidden_states(mine, X), atol=1e-6)
    with pytest.raises(ConveyorError, match="as a cell of flax is"):
        convert.to_flax(KINDS["many"])


@pytest.mark.parametrize("name", ["w.pt", "w.onnx", "w.keras", "w.safetensors", "torch"])
def test_files(name, tmp_path):
    pytest.importorskip("safetensors")
    pytest.importorskip("torch")
    path = tmp_path / (name if "." in name else f"{name}.safetensors")
    for kind in ("many", "before") if name in ("w.onnx", "w.keras", "w.safetensors") else ("many",):
        layout = {} if "." in name else {"layout": name}
        convert.save(KINDS[kind], path, verbose=False, **layout)
        assert_equal(convert.weights_of(path), KINDS[kind])
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.any_backend
def test_files_that_are_not_what_they_say(tmp_path):
    numpy = pytest.importorskip("safetensors.numpy")
    path = tmp_path / "w.safetensors"
    convert.save(KINDS["before"], path, verbose=False)
    arrays = dict(numpy.load_file(path))
    with pytest.raises(ConveyorError, match="layout to be one of keras, torch, onnx, flax"):
        convert.save(KINDS["before"], path, layout="block", verbose=False)
    with numpy_open(path) as file:
        metadata = file.metadata()
    for change in ({"reset_after": "yes"}, {"units": "7"}, {"layout": "none"}):
        numpy.save_file(arrays, path, {**metadata, **change})
        with pytest.raises(ConveyorError):
            convert.weights_of(path)
    numpy.save_file(pack_gru(KINDS["many"], "torch"), path)  # of somebody else
    assert_equal(convert.weights_of(path), KINDS["many"])


def numpy_open(path):
    from safetensors import safe_open

    return safe_open(path, framework="numpy")


REFUSED = {
    "go_backwards": layers.GRU(4, go_backwards=True),
    'merge_mode="concat"': layers.Bidirectional(layers.GRU(4), merge_mode="sum"),
    "activation=relu": layers.GRU(4, activation="relu"),
    "learned initial state": GRU(4, initial_state="learned"),
    "reset_after=False": GRU(4, reset_after=False),
    "GRU cells alone": layers.RNN([layers.GRUCell(4), layers.LSTMCell(4)]),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_is_refused(message):
    layer = REFUSED[message]
    with pytest.raises(ConveyorError, match="not built"):
        convert.to_torch(layers.GRU(4))
    if not layer.built:
        layer.build((None, None, 3))
    with pytest.raises(ConveyorError, match=message):
        convert.to_torch(layer)


@pytest.mark.any_backend
def test_what_only_lstms_have():
    in_one = functools.partial(convert.to_keras, one_layer=True)
    for do in (convert.to_block_lstm, convert.to_haste, in_one):
        with pytest.raises(ConveyorError, match="got GRUs"):
            do(KINDS["many"])
