"""Files of weights: what is written is read again, and what is damaged is refused."""

from __future__ import annotations

import json
import re

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import layers
from typer.testing import CliRunner

from conveyor import ConveyorError, convert
from conveyor.cli._app import app
from conveyor.convert._layouts import LAYOUTS
from conveyor.convert._reference import hidden_states
from full_disk import full_disk

from .examples import MANY, ONE, X, assert_equal, weights

safetensors = pytest.importorskip("safetensors.numpy")

SUFFIXES = (".safetensors", ".pt", ".onnx", ".keras")


def needs(suffix):
    pytest.importorskip({".pt": "torch", ".onnx": "onnx"}.get(suffix, "keras"))


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("mine", [ONE, MANY, weights(1, 1, bias=False)], ids=str)
def test_what_is_written_is_read_again(suffix, mine, tmp_path):
    needs(suffix)
    path = convert.save(mine, tmp_path / f"lstm{suffix}", verbose=False)
    assert_equal(convert.weights_of(path), mine)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_safetensors_say_what_they_hold(layout, tmp_path):
    path = convert.save(MANY, tmp_path / "w.safetensors", layout=layout, verbose=False)
    with safetensors.safe_open(path, framework="numpy") as file:
        said = file.metadata()
        names = set(file.keys())
    assert said["gate_order"] == LAYOUTS[layout].gate_order
    assert (said["units"], said["features"], said["directions"]) == ("4, 4", "3", "2, 2")
    assert said["bias"].startswith("one" if LAYOUTS[layout].biases == 1 else "two")
    assert {"weight_ih_l1_reverse", "bias_hh_l0"} <= names or layout != "torch"
    assert_equal(convert.weights_of(path), MANY)


def test_torch_reads_what_was_written(tmp_path):
    torch = pytest.importorskip("torch")
    module = torch.nn.LSTM(3, 4, 2, bidirectional=True, batch_first=True)
    for name in ("w.pt", "w.safetensors"):
        path = convert.save(MANY, tmp_path / name, layout=None, verbose=False)
        if name == "w.pt":
            module.load_state_dict(torch.load(path, weights_only=True))
    y = module(torch.from_numpy(X))[0].detach()
    np.testing.assert_allclose(y, hidden_states(MANY, X), atol=2e-6)


def test_safetensors_of_others(tmp_path):
    torch = pytest.importorskip("torch")
    module = torch.nn.LSTM(3, 4)
    state = {f"rnn.{name}": value.numpy() for name, value in module.state_dict().items()}
    safetensors.save_file(state, tmp_path / "w.safetensors")
    assert_equal(convert.weights_of(tmp_path / "w.safetensors"), convert.weights_of(module))


def test_only_tensors_are_unpickled(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save(torch.nn.LSTM(3, 4), tmp_path / "module.pt")  # a whole module is a pickle
    with pytest.raises(ConveyorError, match="state_dict"):
        convert.weights_of(tmp_path / "module.pt")
    torch.save({"w": torch.zeros(3)}, tmp_path / "other.pt")
    with pytest.raises(ConveyorError, match=r"w \(3,\)"):
        convert.weights_of(tmp_path / "other.pt")


def changed(path, **said):
    """The same tensors with other metadata."""
    raw = path.read_bytes()
    size = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + size])
    header["__metadata__"] |= said
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + raw[8 + size :])


@pytest.mark.parametrize(
    "said",
    [{"layout": "onnx"}, {"layout": "none"}, {"units": "9"}, {"gate_order": "ifog"}],
    ids=str,
)
def test_metadata_that_is_not_true(said, tmp_path):
    path = convert.save(ONE, tmp_path / "w.safetensors", verbose=False)
    changed(path, **said)
    with pytest.raises(ConveyorError):
        convert.weights_of(path)


@given(data=st.data())
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_damaged_files_are_refused_or_hold_weights(suffix, data, tmp_path_factory):
    needs(suffix)
    folder = tmp_path_factory.getbasetemp()
    whole = folder / f"whole{suffix}"
    if not whole.exists():
        convert.save(ONE, whole, verbose=False)
    content = bytearray(whole.read_bytes())
    if data.draw(st.booleans(), "cut"):
        content = content[: data.draw(st.integers(0, len(content) - 1), "at")]
    else:
        for _ in range(data.draw(st.integers(1, 8), "changes")):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    damaged = folder / f"damaged{suffix}"
    damaged.write_bytes(content)
    try:
        found = convert.weights_of(damaged)
    except ConveyorError:
        return
    assert found.features > 0  # a change that no format could see: in the numbers themselves


def test_a_huge_claim_takes_no_memory(tmp_path):
    path = tmp_path / "w.safetensors"
    header = {"kernel": {"dtype": "F32", "shape": [1 << 40, 4], "data_offsets": [0, 1 << 44]}}
    text = json.dumps(header).encode()
    for size in (len(text), 1 << 62):
        path.write_bytes(size.to_bytes(8, "little") + text)
        with pytest.raises(ConveyorError, match="cannot be read"):
            convert.weights_of(path)


def test_a_file_that_is_there_survives(tmp_path, monkeypatch):
    path = convert.save(ONE, tmp_path / "w.safetensors", verbose=False)
    before = path.read_bytes()
    with full_disk(monkeypatch, 100), pytest.raises(OSError, match="No space"):
        convert.save(MANY, path, verbose=False)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_the_command(tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    torch.save({f"enc.{k}": v for k, v in torch.nn.LSTM(3, 4).state_dict().items()}, "w.pt")
    result = CliRunner().invoke(app, ["convert", "w.pt", "--to", "w.keras"], catch_exceptions=False)
    assert re.search(r"3 features to 4 units; .*: torch \d\.\de-0\d", result.output)
    assert "Written: w.keras" in result.output
    model = keras.saving.load_model("w.keras")
    assert model.output_shape == (None, None, 4)


def test_a_model_with_other_layers(tmp_path):
    model = keras.Sequential(
        [keras.Input((5, 3)), layers.LSTM(4, name="a"), layers.Dense(2), layers.RepeatVector(3)]
    )
    model.save(tmp_path / "model.keras")
    convert.save(tmp_path / "model.keras", tmp_path / "w.safetensors", name="a", verbose=False)
    found = convert.weights_of(tmp_path / "w.safetensors").layers[0][0]
    np.testing.assert_array_equal(found.kernel, model.get_layer("a").get_weights()[0])
