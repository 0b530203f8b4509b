"""`conveyor explain`, `trace` and `report`, as one types them."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import xarray
from keras import layers
from typer.testing import CliRunner

from conveyor import LSTM, ConveyorError, trace
from conveyor.cli import _look
from conveyor.cli._app import app


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    inputs = keras.Input((None,), dtype="int32")
    h = layers.Embedding(30, 4, mask_zero=True)(inputs)
    outputs = layers.Dense(1)(layers.LSTM(3, name="reader")(h))
    model = keras.Model(inputs, outputs)
    model.compile(loss="mse")
    model.save("model.keras")
    np.savez("data.npz", x=[[3, 4, 5], [6, 7, 0]], y=[[1.0], [0.0]])
    (tmp_path / "lines.txt").write_text("not bad !\nso good\n", encoding="utf-8")
    return tmp_path


def run(*words):
    result = CliRunner().invoke(app, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_explain(folder) -> None:
    shown = run("explain", "model.keras", "--save", "flow.svg")
    assert "(3, 7)" in shown
    assert (folder / "flow.svg").read_text(encoding="utf-8").startswith("<svg")


def test_trace(folder) -> None:
    words = ["--text", "lines.txt", "--state", "cell_states", "--layer", "reader"]
    assert "reader: sample 2, time 3, unit 3; candidate_preactivations, cell_states" in run(
        "trace", "model.keras", "data.npz", *words, "--preactivations"
    )
    written = xarray.open_datatree("trace.zarr", engine="zarr")["reader"]
    model = keras.saving.load_model("model.keras", compile=False)
    expected = trace(model, np.load("data.npz")["x"])["reader"]["cell_states"]
    np.testing.assert_allclose(written["cell_states"], expected, rtol=1e-6)
    assert list(written["token"].values[1]) == ["so", "good", ""]
    assert "forget_preactivations" in written
    with pytest.raises(ConveyorError, match="which is there"):
        run("trace", "model.keras", "data.npz")


def test_report(folder) -> None:
    (folder / "lines.txt").write_text("abc\nde\n", encoding="utf-8")
    run("report", "model.keras", "data.npz", "--text", "lines.txt", "--characters")
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "reader" in page
    assert "How far gradients reach" in page


def test_several_inputs_go_by_their_names(folder) -> None:
    np.savez("two.npz", one=np.ones((2, 3)), two=np.ones((2, 4)))
    x, y = _look.read_arrays(folder / "two.npz")
    assert (sorted(x), y) == (["one", "two"], None)


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (["explain", "none.keras"], FileNotFoundError, "no file none.keras"),
        (["trace", "data.npz", "data.npz"], ConveyorError, "a model that Keras can load"),
        (["trace", "model.keras", "lines.txt"], ConveyorError, "np.savez"),
        (["trace", "model.keras", "y.npz"], ConveyorError, "an array x; got y alone"),
    ],
)
def test_mistakes(folder, words, error, message) -> None:
    np.savez("y.npz", y=np.ones(3))
    with pytest.raises(error, match=message):
        run(*words)


def test_accelerate(folder) -> None:
    printed = run("accelerate", "model.keras", "-o", "fast.keras")
    assert "1 of 1 recurrent layers" in printed
    names = "fast.keras", "model.keras"
    fast, model = (keras.saving.load_model(name, compile=False) for name in names)
    assert type(fast.get_layer("reader")) is LSTM
    x = np.load("data.npz")["x"]
    np.testing.assert_allclose(fast.predict(x), model.predict(x), atol=1e-6)
    assert sorted(path.name for path in folder.iterdir() if "keras" in path.name) == [
        "fast.keras",
        "model.keras",
    ]
    assert "largest difference" in run("export", "model.keras", "-o", "model.onnx")
    assert "stream.onnx" in run("export", "model.keras", "-o", "stream.onnx", "--states")
    with pytest.raises(ConveyorError, match=r"-o fast\.keras"):
        run("accelerate", "model.keras", "-o", "fast.h5")
