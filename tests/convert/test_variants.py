"""Weights of the LSTM's variants: to every side that has them, refused by name elsewhere."""

from __future__ import annotations

import json

import numpy as np
import pytest

from conveyor import LSTM, ConveyorError, convert
from conveyor.convert._reference import hidden_states
from frameworks import to_numpy

from .examples import ONE, RNG, X, assert_equal, weights

LAYERS = {
    "peephole": {"peephole": True, "clip": 0.9, "output_activation": "tanh"},
    "gates": {"layer_norm": "gates", "coupled": True, "recurrent_weight_dropout": 0.2},
    "everything": {
        "peephole": True,
        "coupled": True,
        "output_transform": True,
        "projection": 3,
        "layer_norm": ["joint", "cell"],
        "zoneout": (0.3, 0.2),
        "clip": 1.2,
        "cell_clip": 0.4,
    },
}


def made(**arguments):
    layer = LSTM(4, return_sequences=True, **arguments)
    layer.build((None, None, 3))
    layer.set_weights([RNG.normal(size=w.shape) * 0.7 for w in layer.weights])
    return layer


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_there_and_back(name, tmp_path):
    layer = made(**LAYERS[name])
    found = convert.weights_of(layer)
    np.testing.assert_allclose(to_numpy(layer(X)), hidden_states(found, X), atol=5e-6)
    (again,) = convert.to_keras(layer, verbose=False).layers
    assert len(again.weights) == len(layer.weights)
    assert all(map(np.array_equal, again.get_weights(), layer.get_weights()))
    for suffix in (".keras", ".safetensors"):
        path = convert.save(layer, tmp_path / f"w{suffix}", verbose=False)
        assert_equal(convert.weights_of(path), found)


def test_layers_of_one_kind_are_one_layer():
    given = weights(2, 2, projection=2, peepholes=True, cell_clip=0.5)
    model = convert.to_keras(given, one_layer=True, verbose=False)
    np.testing.assert_allclose(to_numpy(model(X)), hidden_states(given, X), atol=5e-6)
    assert_equal(convert.weights_of(model.layers[0]), given)
    other = weights(1, 1, units=3, cell_clip=0.4).layers + weights(1, 1, units=3).layers
    with pytest.raises(ConveyorError, match="one size and kind"):
        convert.to_keras(convert.LSTMWeights(other), one_layer=True, verbose=False)


@pytest.mark.any_backend
@pytest.mark.parametrize(
    ("suffix", "options"),
    [(".pt", {"projection": 2}), (".onnx", {"peepholes": True, "coupled": True, "clip": 0.7})],
)
def test_files_of_the_others(suffix, options, tmp_path):
    pytest.importorskip({".pt": "torch", ".onnx": "onnx"}[suffix])
    given = weights(2, 2, **options)
    found = convert.weights_of(convert.save(given, tmp_path / f"w{suffix}", verbose=False))
    np.testing.assert_allclose(hidden_states(found, X), hidden_states(given, X), atol=1e-6)
    for cell in found.cells:
        assert (cell.projection is not None, cell.coupled) == (suffix == ".pt", suffix == ".onnx")
        assert cell.clip == (pytest.approx(0.7) if suffix == ".onnx" else None)


def test_coupled_gates_written_out():
    torch = pytest.importorskip("torch")
    given = weights(2, 2, coupled=True)
    with pytest.raises(ConveyorError, match=r"coupled gates(.|\n)*\.uncoupled\(\)"):
        convert.to_torch(given)
    module = convert.to_torch(given.uncoupled(), verbose=False)
    y = module(torch.from_numpy(X))[0].detach()
    np.testing.assert_allclose(y, hidden_states(given, X), atol=2e-6)


def by_haste(state, zoneout, x):
    """haste's frameworks/pytorch/layer_norm_lstm.py, line by line; without gamma its lstm.py."""
    torch = pytest.importorskip("torch")
    norm = torch.nn.functional.layer_norm
    a = {name: torch.from_numpy(array) for name, array in state.items()}
    h = c = torch.zeros(len(x), 4)
    wx = torch.from_numpy(x) @ a["kernel"]
    if "gamma" in a:
        wx = norm(wx, (16,), weight=a["gamma"][0])
    every = []
    for t in range(x.shape[1]):
        rh = h @ a["recurrent_kernel"]
        rh = norm(rh, (16,), weight=a["gamma"][1]) if "gamma" in a else rh
        i, g, f, o = torch.chunk(rh + wx[:, t] + a["bias"], 4, 1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        u = norm(c, (4,), weight=a["gamma_h"], bias=a["beta_h"]) if "gamma" in a else c
        new = torch.sigmoid(o) * torch.tanh(u)
        h = zoneout * h + (1 - zoneout) * new
        every.append(h)
    return torch.stack(every, 1).numpy()


@pytest.mark.any_backend
@pytest.mark.parametrize("norm", [True, False])
def test_haste(norm, tmp_path):
    sizes = {"kernel": (3, 16), "recurrent_kernel": (4, 16), "bias": (16,)}
    sizes |= {"gamma": (2, 16), "gamma_h": (4,), "beta_h": (4,)} if norm else {}
    state = {name: RNG.normal(size=size).astype("float32") for name, size in sizes.items()}
    given = convert.HasteLSTM(**state, zoneout=0.3)
    (layer,) = convert.to_keras(given, verbose=False).layers
    assert layer.zoneout == (0.3, 0.0)
    assert layer.layer_norm == (("joint", "cell") if norm else None)
    expected = by_haste(state, 0.3, X)
    np.testing.assert_allclose(to_numpy(layer(X)), expected, atol=5e-6)
    again = convert.to_haste(layer, verbose=False)
    assert again.zoneout == 0.3
    assert state.keys() == again.state_dict().keys()
    for name, array in again.state_dict().items():
        np.testing.assert_array_equal(array, state[name])
    path = convert.save(layer, tmp_path / "w.safetensors", layout="haste", verbose=False)
    assert_equal(convert.weights_of(path), convert.weights_of(layer))


REFUSED = {
    "flax": ("a projection", "torch", {"projection": 2}),
    "torch": ("peepholes", "onnx, block", {"peepholes": True}),
    "onnx": ("cell_clip", "block", {"cell_clip": 0.5}),
    "block": ("clip", "onnx", {"clip": 0.5}),
    "haste": ("an output transform", "keras", {"output": True}),
}


@pytest.mark.any_backend
@pytest.mark.parametrize("layout", REFUSED)
def test_what_a_layout_has_no_place_for(layout, tmp_path):
    part, others, options = REFUSED[layout]
    with pytest.raises(ConveyorError, match=rf"got {part}(.|\n)*{others}"):
        convert.save(weights(1, 1, **options), tmp_path / "w.safetensors", layout=layout)
    assert not list(tmp_path.iterdir())


@pytest.mark.any_backend
def test_what_the_sides_have_no_place_for():
    normalised = weights(1, 1, gate_scale="joint", cell_scale=True, coupled=True)
    for message, convert_it in {
        "layer normalisation of the gates": lambda: convert.to_flax(
            weights(1, 1, gate_scale="gates")
        ),
        "coupled gates": normalised.uncoupled,
        "normalises all gates at once": lambda: convert.to_haste(weights(1, 1, cell_scale=True)),
        "hidden state alone": lambda: convert.to_haste(weights(1, 1, zoneout=(0.1, 0.2))),
        "no gamma_h and no beta_h": lambda: convert.weights_of(
            convert.HasteLSTM(*map(np.ones, ((3, 8), (2, 8), 8, (2, 8))))
        ),
        "output_activation=relu": lambda: convert.weights_of(made(output_activation="relu")),
        "clip to be a positive number": lambda: weights(1, 1, clip=-1.0),
        "one LSTM a layer, or two of the same": lambda: convert.LSTMWeights(
            (weights(1, 1).layers[0] + weights(1, 1, clip=0.5).layers[0],)
        ),
    }.items():
        with pytest.raises(ConveyorError, match=message):
            convert_it()


@pytest.mark.any_backend
@pytest.mark.parametrize(
    "settings",
    [
        *("no JSON", "{}", "[]", "[{}, {}]", "[3]", '[{"colour": 1}]', '[{"clip": "a"}]'),
        *('[{"zoneout": 3}]', '[{"coupled": 1}]', '[{"clip": 0.5, "coupled": true}]'),
    ],
)
def test_settings_that_are_not_true(settings, tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy")
    path = convert.save(weights(1, 1, clip=0.5), tmp_path / "w.safetensors", verbose=False)
    with safetensors.safe_open(path, framework="numpy") as file:
        said, arrays = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    assert json.loads(said["settings"]) == [{"clip": 0.5}]
    safetensors.save_file(arrays, path, metadata={**said, "settings": settings})
    with pytest.raises(ConveyorError):
        convert.weights_of(path)


@pytest.mark.any_backend
def test_plain_files_say_nothing_of_settings(tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy")
    path = convert.save(ONE, tmp_path / "w.safetensors", verbose=False)
    with safetensors.safe_open(path, framework="numpy") as file:
        assert "settings" not in file.metadata()
