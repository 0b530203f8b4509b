"""States as inputs and outputs: chunks of any lengths give the numbers of the whole sequence."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

from conveyor import LSTM, ConveyorError

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from conveyor.onnx import export
from onnx_nodes.exported import outputs, padded, randomized, run, session

F = 3
STEPS = 12  # of the whole: for each shape JAX compiles the model anew


def deep():
    x = keras.Input((None, F))
    y = LSTM(4, outputs=("hidden_states", "cell_states", "forget_gates"), name="low")(
        layers.Masking()(x)
    )
    z = layers.RNN([layers.LSTMCell(5), layers.LSTMCell(4)], return_sequences=True, name="stack")(
        y[0]
    )
    inner = keras.Sequential([keras.Input((None, 4)), layers.LSTM(3, name="top")], name="inner")
    last = inner(layers.Dropout(0.3)(z + y[0]))
    return keras.Model(x, [*y, layers.TimeDistributed(layers.Dense(2))(z), layers.Dense(2)(last)])


def learned():
    x = keras.Input((None, F))
    return keras.Model(x, LSTM(4, return_sequences=True, initial_state="learned", name="lstm")(x))


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return {
        make: (model, session(model, tmp_path_factory.mktemp("chunks"), states=True))
        for make in (deep, learned)
        for model in [randomized(make())]
    }


def begin(known, rows):
    """What the first chunk is fed beside x."""
    metadata = known.get_modelmeta().custom_metadata_map
    return {
        i.name: np.tile(
            np.float32(json.loads(metadata.get(i.name, str([0.0] * i.shape[1])))), (rows, 1)
        )
        for i in known.get_inputs()
        if i.name.endswith("_state")
    }


@given(
    make=st.sampled_from([deep, learned]),
    cuts=st.lists(st.integers(1, STEPS - 1), unique=True).map(sorted),
    lengths=st.lists(st.integers(0, STEPS), min_size=3, max_size=3),
    holes=st.lists(st.integers(0, STEPS - 1), max_size=4),
)
@settings(max_examples=15)
def test_any_chunks(models, make, cuts, lengths, holes):
    model, known = models[make]
    x = padded(lengths, STEPS)
    x[0, holes] = 0
    states = begin(known, len(x))
    names = [o.name for o in known.get_outputs()]
    found = []
    for part in np.split(x, cuts, axis=1):
        values = dict(zip(names, run(known, [part, *states.values()]), strict=True))
        states = {name: values[f"{name}.next"] for name in states}
        found.append([values[name] for name in names if not name.endswith(".next")])
    for tensor, parts, expected in zip(
        model.outputs, zip(*found, strict=True), outputs(model, x), strict=True
    ):
        actual = np.concatenate(parts, axis=1) if len(tensor.shape) == 3 else parts[-1]
        np.testing.assert_allclose(actual, expected, atol=2e-5)


def test_names(models):
    known = models[deep][1]
    paths = ("low", "stack/0", "stack/1", "inner/top")
    wanted = [f"{path}.{state}" for path in paths for state in ("hidden_state", "cell_state")]
    assert [i.name for i in known.get_inputs()][1:] == wanted
    assert [o.name for o in known.get_outputs()][5:] == [f"{name}.next" for name in wanted]


def shared():
    x = keras.Input((None, F))
    layer = LSTM(F, return_sequences=True, name="lstm")
    return keras.Model(x, layer(layer(x)))


def test_a_layer_that_is_called_twice_has_states_of_each(tmp_path):
    model = randomized(shared())
    known = session(model, tmp_path, states=True)
    assert "lstm_2.cell_state" in [i.name for i in known.get_inputs()]


def of(*above, shape=(None, F)):
    return keras.Sequential([keras.Input(shape), *above])


def given_states():
    x, h, c = keras.Input((None, F)), keras.Input((4,)), keras.Input((4,))
    return keras.Model([x, h, c], LSTM(4, name="l")(x, initial_state=[h, c]))


REFUSED = {
    "Bidirectional.*reads the last step first": lambda: of(
        layers.Bidirectional(LSTM(2), name="both")
    ),
    'LSTM "back".*the last step first': lambda: of(LSTM(2, go_backwards=True, name="back")),
    'LSTM "l".*another layer gives': given_states,
    r"time steps are 6: write Input\(\(None": lambda: of(LSTM(2), shape=(6, F)),
    'Conv1D "conv".*several time steps': lambda: of(layers.Conv1D(2, 2, name="conv"), LSTM(2)),
    "GlobalMaxPooling1D": lambda: of(LSTM(2, return_sequences=True), layers.GlobalMaxPooling1D()),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_no_stream_has(message, tmp_path):
    with pytest.raises(ConveyorError, match=message):
        export(REFUSED[message](), tmp_path / "model.onnx", states=True)
    assert not list(tmp_path.iterdir())


def test_a_stateful_layer(tmp_path):
    with pytest.raises(ConveyorError, match=r"states=True"):
        export(of(LSTM(2, stateful=True)), tmp_path / "model.onnx")
