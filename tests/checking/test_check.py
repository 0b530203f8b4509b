"""Every path of a model is run, compared, and put back as it was."""

from __future__ import annotations

from importlib.util import find_spec

import keras
import numpy as np
import pytest
from keras import layers
from typer.testing import CliRunner

import conveyor
from conveyor import GRU, LSTM, ConveyorError, check
from conveyor._engines import _native, expect_gru
from conveyor.checking import _check, _paths
from conveyor.cli import app
from conveyor.layers import running_on

F = 3


@pytest.fixture(autouse=True)
def _in_haste(monkeypatch):
    monkeypatch.setattr(_check, "_SECONDS", 0.0)


ONNX = find_spec("onnxruntime") is not None and find_spec("onnx") is not None
COMPARED = {"portable engine", "float64", *(["ONNX Runtime"] if ONNX else [])}
COMPARED |= {"native engine"} if _native.missing() is None else set()
# A GRU has not got that engine on every backend.
ABSENT = {}
if expect_gru("auto", keras.activations.tanh, keras.activations.sigmoid).engine != "native":
    ABSENT = {"native engine": ""}


def stack():
    hs = layers.LSTM(5, return_sequences=True)
    return keras.Sequential([keras.Input((None, F)), hs, layers.LSTM(4), layers.Dense(2)])


def trained():
    model = stack()
    model.compile("adam", "mse")
    model.fit(np.ones((2, 3, F)), np.ones((2, 2)), verbose=0)
    return model


def bidirectional():
    embedding = layers.Embedding(9, 4, mask_zero=True)
    both = layers.Bidirectional(LSTM(5, engine="portable"))
    return keras.Sequential([keras.Input((None,)), embedding, both])


def nested():
    x, y = keras.Input((None, F), name="x"), keras.Input((None, F), name="y")
    inner = keras.Sequential([keras.Input((None, F)), layers.Masking(), layers.LSTM(4)])
    h = inner(x)
    hs = LSTM(4, return_sequences=True)(y, initial_state=[h, h])
    return keras.Model({"x": x, "y": y}, {"last": h, "all": layers.Dense(2)(hs)})


def beside_a_gru():
    x = keras.Input((6, F))
    cells = layers.RNN([layers.LSTMCell(4), layers.LSTMCell(3)], return_sequences=True)
    return keras.Model(x, layers.GRU(2, name="gru")(cells(x)))


def stateful():
    layer = LSTM(4, return_sequences=True, stateful=True)
    layer.build((2, None, F))
    layer.set_states([np.ones((2, 4)), np.ones((2, 4))])
    return layer


def stateful_of_keras():
    lstm = layers.LSTM(4, stateful=True)
    model = keras.Sequential([keras.Input(batch_shape=(2, 5, F)), lstm])
    model(np.ones((2, 5, F), "float32"))
    return model


MODELS = {
    trained: ({"streaming"}, {"mask against unpadded": "makes no mask"}),
    bidirectional: ({"mask against unpadded"}, {"streaming": "reads the last time step first"}),
    nested: ({"mask against unpadded"}, {"streaming": "initial_state is given"}),
    beside_a_gru: ({"streaming"}, ABSENT),
    stateful: ({"streaming", "mask against unpadded"}, {"ONNX Runtime": "stateful=True"}),
    stateful_of_keras: (
        {"streaming"},
        {"mask against unpadded": "makes no mask", "ONNX Runtime": "stateful=True"},
    ),
}


def snapshot(model):
    """What a path could leave behind."""
    found = [item.layer for item in conveyor.layers._find.find_recurrent(model)]
    attributes = [dict(vars(layer)) for layer in found]
    for names in attributes:
        names.pop("_called", None)  # Keras notes that there was a call
    variables = [(id(v), keras.ops.convert_to_numpy(v).tolist()) for v in model.variables]
    nodes = [len(layer._inbound_nodes) for layer in (model, *found)]
    optimizer = getattr(model, "optimizer", None)
    compiled = getattr(model, "train_function", None)
    return attributes, variables, nodes, id(optimizer), id(compiled)


@pytest.mark.parametrize("make", MODELS, ids=lambda make: make.__name__)
def test_every_path_agrees_and_nothing_is_left_behind(make):
    model = make()
    also, absent = MODELS[make]
    before = snapshot(model)
    found = check(model, np.ones((2, 5, F), "float32") if make is stateful else None)
    assert found.ok, found
    after = snapshot(model)
    assert [a.keys() for a in before[0]] == [a.keys() for a in after[0]]
    for one, other in zip(before[0], after[0], strict=True):
        assert all(other[name] is one[name] for name in one), one
    assert before[1:] == after[1:]
    rows = {row.path: row for row in found.rows}
    assert next(iter(rows)) == "as it is"
    for name in (COMPARED | also) - set(absent):
        assert rows[name].difference is not None, rows[name]
        assert (rows[name].milliseconds is None) == (name == "float64")
    for name, why in absent.items():
        if name in rows and (name != "ONNX Runtime" or ONNX):
            assert rows[name].difference is None
            assert why in rows[name].note
            assert "\n" not in rows[name].note


def of_grus():
    x = keras.Input((None,))
    h = layers.Embedding(9, 4, mask_zero=True)(x)
    h = GRU(3, return_sequences=True, reset_after=False)(h)
    return keras.Model(x, layers.Bidirectional(layers.GRU(2))(h))


def stateful_gru():
    gru = GRU(3, stateful=True)
    model = keras.Sequential([keras.Input(batch_shape=(2, 5, F)), gru])
    model(np.ones((2, 5, F), "float32"))
    return model


@pytest.mark.parametrize("make", [of_grus, stateful_gru], ids=lambda make: make.__name__)
def test_paths_of_a_gru(make):
    model = make()
    before = snapshot(model)
    found = check(model)
    assert found.ok, found
    after = snapshot(model)
    assert before[1:] == after[1:]
    assert all(b[n] is a[n] for b, a in zip(before[0], after[0], strict=True) for n in b)
    rows = {row.path: row for row in found.rows}
    also, absent = {"mask against unpadded"}, set(ABSENT)
    if make is stateful_gru:
        also, absent = {"streaming"}, absent | {"ONNX Runtime"}
    for name in (COMPARED | also) - absent:
        assert rows[name].difference is not None, rows[name]
    assert "conveyor.GRU, " in rows["as it is"].note
    count = "3 GRUs, each" if make is of_grus else "the GRU"
    assert rows["float64"].note == f"hidden states of {count} by itself"


def test_an_engine_that_is_wrong_is_seen(monkeypatch):
    right = _paths.ops.gru
    monkeypatch.setattr(_paths.ops, "gru", lambda *x, **how: right(*x, **how) + 1e-3)
    found = check(stateful_gru())
    assert [row.path for row in found.rows if found.disagrees(row)] == ["float64"]


def test_the_table():
    model = stack()
    found = check(model)
    shown = str(found)
    assert shown == repr(found)
    assert f'"{model.name}" on x (4, 32, 3), {keras.backend.backend()}' in shown
    assert "Keras's own loop" in shown
    assert "all within 1e-05" in shown
    assert "portable engine" in found._repr_html_()
    assert max(map(len, shown.splitlines())) <= 92


def test_inputs_by_name_or_in_order():
    rng = np.random.default_rng(0)
    x = {
        name: rng.normal(size=(3, steps, F)).astype("float32")
        for name, steps in (("x", 5), ("y", 4))
    }
    found = check(nested(), x)
    assert found.ok
    assert "(3, 5, 3) and (3, 4, 3)" in str(found)


def the_mean_over_all_steps():
    x = keras.Input((None, F))
    hs = LSTM(4, return_sequences=True)(layers.Masking()(x))
    return keras.Model(x, keras.ops.mean(hs, axis=1))


def test_padding_that_has_an_influence_is_seen(tmp_path):
    model = the_mean_over_all_steps()
    found = check(model)
    assert not found.ok
    assert [row.path for row in found.rows if found.disagrees(row)] == ["mask against unpadded"]
    assert "Not within 1e-05: mask against unpadded." in str(found)
    assert check(model, tolerance=10.0).ok
    model.save(tmp_path / "model.keras")
    shown = CliRunner().invoke(app, ["check", str(tmp_path / "model.keras")])
    assert shown.exit_code == 1, shown.output
    assert "Not within" in shown.output


def test_another_number_and_a_failure_are_seen(monkeypatch):
    class Off(conveyor.Stream):
        def step(self, x, **options):
            return super().step(x, **options) + 1e-3

    monkeypatch.setattr(_paths, "Stream", Off)

    def breaks(subject):
        raise RuntimeError("no such thing")

    monkeypatch.setitem(_check._PATHS, "ONNX Runtime", breaks)
    found = check(stack())
    apart = {row.path: row for row in found.rows if found.disagrees(row)}
    assert set(apart) == {"streaming", "ONNX Runtime"}
    assert apart["streaming"].difference == pytest.approx(1e-3, rel=0.01)
    assert apart["ONNX Runtime"].note == "RuntimeError: no such thing"


def test_nan_does_not_agree():
    model = stack()
    model.set_weights([w * np.nan for w in model.get_weights()])
    found = check(model)
    assert not found.ok


@keras.saving.register_keras_serializable()
class Impatient(layers.Layer):
    """Ctrl-C, as soon as the portable engine is at work."""

    def __init__(self, lstm):
        super().__init__()
        self.lstm = lstm

    def call(self, x):
        if self.lstm.engine == "portable":
            raise KeyboardInterrupt
        return self.lstm(x)


def test_ctrl_c_leaves_all_as_it_was():
    lstm = LSTM(4)
    model = keras.Sequential([keras.Input((None, F)), Impatient(lstm)])
    before = dict(vars(lstm))
    with pytest.raises(KeyboardInterrupt):
        check(model)
    assert all(vars(lstm)[name] is before[name] for name in before)
    theirs = layers.LSTM(4)
    before = dict(vars(theirs))

    def interrupted():
        with running_on([theirs], "portable"):
            assert vars(theirs) != before
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert vars(theirs) == before


def test_sixteen_bits():
    keras.config.set_dtype_policy("mixed_bfloat16")
    found = check(stack())
    assert found.tolerance == 0.05
    assert found.ok, found


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.lstm = LSTM(4)

    def call(self, x):
        return self.lstm(x)


def subclassed():
    model = Subclassed()
    model(np.ones((2, 5, F), "float32"))
    return model


def test_a_model_whose_call_is_python():
    found = check(subclassed(), np.ones((2, 5, F), "float32"))
    assert found.ok
    notes = {row.path: row.note for row in found.rows}
    assert "cannot be looked into" in notes["streaming"]


REFUSED = {
    "a Keras model or layer; got int": lambda: check(3),
    "holds none": lambda: check(keras.Sequential([keras.Input((F,)), layers.Dense(1)])),
    "SimpleRNNCell": lambda: check(keras.Sequential([keras.Input((None, F)), layers.SimpleRNN(1)])),
    "not built": lambda: check(LSTM(4)),
    "Write conveyor.check\\(model, x": lambda: check(subclassed()),
    r"\(None, None, 3\).*got shape \(2, 5, 4\)": lambda: check(stack(), np.ones((2, 5, 4))),
    "one or more samples": lambda: check(stack(), np.ones((0, 5, F))),
    "tolerance above 0": lambda: check(stack(), tolerance=0),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_is_refused(message):
    with pytest.raises(ConveyorError, match=message):
        REFUSED[message]()


def test_command(tmp_path):
    model = bidirectional()
    model.save(tmp_path / "model.keras")
    np.savez(tmp_path / "x.npz", x=np.ones((2, 7), "int32"))
    arguments = ["check", str(tmp_path / "model.keras"), "--data", str(tmp_path / "x.npz")]
    shown = CliRunner().invoke(app, arguments)
    assert shown.exit_code == 0, shown.output
    assert "on x (2, 7)" in shown.output
