"""Exported models compute in ONNX Runtime what they do in Keras, for any batch and length."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from conveyor import LSTM, ConveyorError
from frameworks import to_numpy

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")

from conveyor.onnx import export, load_lstm  # noqa: E402

F = 3


def tagger():
    x = keras.Input((None, F))
    y = layers.Bidirectional(layers.LSTM(5, return_sequences=True))(layers.Masking()(x))
    y = layers.LayerNormalization()(layers.Dropout(0.5)(y))
    y = LSTM(4, return_sequences=True, use_bias=False)(y) + layers.Dense(4)(y)
    y = layers.Concatenate()([y, x])
    return keras.Model(x, layers.TimeDistributed(layers.Dense(2, activation="softmax"))(y))


def classifier():
    return keras.Sequential(
        [
            keras.Input((None,)),
            layers.Embedding(9, 6, mask_zero=True),
            LSTM(5, return_sequences=True, zero_output_for_mask=True),
            layers.RNN([layers.LSTMCell(4), layers.LSTMCell(3)]),
            layers.BatchNormalization(),
            layers.Dense(2, activation="elu"),
        ]
    )


def encoder_decoder():
    x, y = keras.Input((None, F)), keras.Input((None, F))
    states = ("cell_states", "hidden_state", "cell_state", "input_gates")
    cs, h, c, i = LSTM(4, outputs=states, initial_state="learned")(layers.Masking()(x))
    hs = LSTM(4, return_sequences=True)(layers.Masking()(y), initial_state=[h, c])
    return keras.Model([x, y], [layers.Dense(2)(hs), h, c, i, layers.GlobalAveragePooling1D()(cs)])


def backwards():
    x = keras.Input((None, F))
    masked = layers.Masking()(x)
    back = LSTM(4, go_backwards=True, return_sequences=True, recurrent_activation="hard_sigmoid")
    merged = layers.Bidirectional(LSTM(3, return_state=True), merge_mode="sum", name="both")(masked)
    return keras.Model(x, [LSTM(2, activation="relu")(back(masked)), *merged])


def nested():
    x = keras.Input((6, F))
    inner = keras.Model(x, layers.LSTM(4, return_sequences=True)(x))
    return keras.Sequential([keras.Input((6, F)), inner, layers.Flatten(), layers.Dense(1)])


MODELS = [tagger, classifier, encoder_decoder, backwards, nested]


def randomized(make):
    keras.utils.set_random_seed(3)
    model = make()
    rng = np.random.default_rng(1)
    model.set_weights([w + 0.2 * rng.normal(size=w.shape) ** 2 for w in model.get_weights()])
    return model


def data(model, lengths, steps):
    """Sequences padded on the right."""
    rng = np.random.default_rng(2)
    within = np.arange(steps) < np.array(lengths)[:, None]
    arrays = []
    for tensor in model.inputs:
        if len(tensor.shape) == 2:
            arrays.append((rng.integers(1, 9, within.shape) * within).astype("int64"))
        else:
            x = rng.normal(size=(*within.shape, F)) * within[:, :, None]
            arrays.append(x.astype("float32"))
    return arrays


@pytest.mark.parametrize("make", MODELS)
@pytest.mark.parametrize("opset", [14, None, onnx.defs.onnx_opset_version()])
def test_the_numbers_of_the_model(make, opset, tmp_path, capsys):
    model = randomized(make)
    options = {} if opset is None else {"opset": opset}
    path = export(model, tmp_path / "model.onnx", **options)
    assert "largest difference" in capsys.readouterr().out
    session = runtime.InferenceSession(path)
    for lengths, steps in (((6, 2, 0, 1), 6), ((1,), 1), ((3, 7), 7)):
        if make is nested and steps != 6:
            continue
        arrays = data(model, lengths, steps)
        arrays = [
            x.astype("float32" if "float" in known.type else "int64")
            for known, x in zip(session.get_inputs(), arrays, strict=True)
        ]
        fed = {known.name: x for known, x in zip(session.get_inputs(), arrays, strict=True)}
        wanted = keras.tree.flatten(model(arrays if len(arrays) > 1 else arrays[0]))
        for actual, expected in zip(session.run(None, fed), wanted, strict=True):
            np.testing.assert_allclose(actual, to_numpy(expected), atol=1e-5)


def test_inputs_of_different_lengths(tmp_path):
    model = randomized(encoder_decoder)
    session = runtime.InferenceSession(export(model, tmp_path / "model.onnx", verbose=False))
    arrays = [data(model, (3, 1), 5)[0], data(model, (7, 2), 7)[1]]
    fed = {known.name: x for known, x in zip(session.get_inputs(), arrays, strict=True)}
    for actual, expected in zip(session.run(None, fed), model(arrays), strict=True):
        np.testing.assert_allclose(actual, to_numpy(expected), atol=1e-5)


def test_one_node_a_layer(tmp_path):
    path = export(randomized(tagger), tmp_path / "model.onnx", verbose=False)
    nodes = [node for node in onnx.load(path).graph.node if node.op_type == "LSTM"]
    assert len(nodes) == 2
    first = load_lstm(path, name=nodes[0].name)
    assert isinstance(first, layers.Bidirectional)
    free = [d.dim_param for d in onnx.load(path).graph.input[0].type.tensor_type.shape.dim]
    assert free[:2] == ["batch", "time_steps"]
    assert [p.name for p in tmp_path.iterdir()] == ["model.onnx"]


def test_a_model_read_from_a_file(tmp_path):
    randomized(tagger).save(tmp_path / "model.keras")
    export(keras.saving.load_model(tmp_path / "model.keras"), tmp_path / "model.onnx")


def test_a_layer_alone(tmp_path):
    layer = LSTM(4, return_sequences=True)
    layer.build((None, None, F))
    session = runtime.InferenceSession(export(layer, tmp_path / "lstm.onnx", verbose=False))
    x = np.random.default_rng(0).normal(size=(2, 5, F)).astype("float32")
    (y,) = session.run(None, {session.get_inputs()[0].name: x})
    np.testing.assert_allclose(y, to_numpy(layer(x)), atol=1e-5)


def with_layer(layer):
    return keras.Sequential([keras.Input((8, F)), LSTM(4, return_sequences=True, name="l"), layer])


def cubed(x):
    return x**3


def with_a_place():
    x = keras.Input((8, F))
    return keras.Model(x, layers.LSTM(F)(x) + x[:, 0])


REFUSED = {
    "GetItem": with_a_place,
    'Conv1D "conv"': lambda: with_layer(
        layers.Conv1D(2, 2, strides=2, padding="same", name="conv")
    ),
    'SimpleRNN "rnn"': lambda: with_layer(layers.SimpleRNN(2, name="rnn")),
    "activation cubed": lambda: with_layer(LSTM(2, activation=cubed)),
    "float64": lambda: with_layer(LSTM(2, dtype="float64")),
    "mixed|bfloat16": lambda: with_layer(LSTM(2, dtype="mixed_bfloat16")),
    "not built": lambda: keras.Sequential([LSTM(4)]),
}


@pytest.mark.filterwarnings("ignore:Explicitly requested dtype float64")
@pytest.mark.parametrize("message", REFUSED)
def test_what_cannot_be_exported_is_named_and_nothing_is_written(message, tmp_path):
    with pytest.raises(ConveyorError, match=message):
        export(REFUSED[message](), tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_numbers_that_differ_are_not_written(tmp_path, monkeypatch):
    from conveyor.onnx import _lstm_node

    monkeypatch.setattr(_lstm_node, "ONNX_ORDER", ("input", "forget", "output", "candidate"))
    with pytest.raises(ConveyorError, match="nothing was written"):
        export(randomized(nested), tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_other_arguments():
    model = randomized(nested)
    with pytest.raises(ConveyorError, match=r"\*\.onnx"):
        export(model, "model.keras")
    with pytest.raises(ConveyorError, match="from 14"):
        export(model, "model.onnx", opset=9)


def refusing(*args, **kwargs):
    raise RuntimeError("opset 17 is under development")


def test_an_opset_that_onnx_runtime_does_not_know(tmp_path, monkeypatch):
    monkeypatch.setattr(runtime, "InferenceSession", refusing)
    with pytest.raises(ConveyorError, match=r"does not take .* opset 17(.|\n)*export\(model, path"):
        export(randomized(nested), tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())
