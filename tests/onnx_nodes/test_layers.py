"""Each layer that models with LSTMs have, behind an LSTM and before one."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from conveyor import LSTM, ConveyorError

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from conveyor.onnx import export
from onnx_nodes.exported import outputs, padded, randomized, run, session

F = 4
ACTIVATIONS = (
    *("linear", "softmax", "log_softmax", "hard_sigmoid", "silu", "mish", "leaky_relu", "relu6"),
    *("gelu", "tanh", "sigmoid", "relu", "elu", "selu", "softplus", "softsign", "exponential"),
)
# (B, T, F) to something with the same axes.
ALONG_TIME = {
    "dense": lambda: layers.Dense(3, activation="gelu"),
    "dense without bias": lambda: layers.Dense(3, use_bias=False),
    "dropout": lambda: layers.Dropout(0.5),
    "spatial dropout": lambda: layers.SpatialDropout1D(0.5),
    "layer normalization": layers.LayerNormalization,
    "layer normalization, bare": lambda: layers.LayerNormalization(scale=False, center=False),
    "batch normalization": layers.BatchNormalization,
    "batch normalization, bare": lambda: layers.BatchNormalization(scale=False, center=False),
    "time distributed": lambda: layers.TimeDistributed(layers.Dense(2)),
    "ReLU": layers.ReLU,
    "LeakyReLU": lambda: layers.LeakyReLU(0.3),
    "ELU": lambda: layers.ELU(0.7),
    "Softmax": layers.Softmax,
    "identity": layers.Identity,
}
# Those that Keras loses the mask with.
WITHOUT_MASK = {
    "permute": lambda: layers.Permute((1, 2)),
    "reshape": lambda: layers.Reshape((-1, 2)),
    "conv": lambda: layers.Conv1D(3, 2),
    "conv, causal": lambda: layers.Conv1D(
        3, 3, padding="causal", dilation_rate=2, activation="relu"
    ),
    "conv, same": lambda: layers.Conv1D(6, 4, padding="same", groups=2, use_bias=False),
    "conv, strides": lambda: layers.Conv1D(3, 2, strides=2),
    "pooled": lambda: keras.Sequential([layers.GlobalMaxPooling1D(), layers.RepeatVector(3)]),
    "pooled, kept": lambda: layers.GlobalMaxPooling1D(keepdims=True),
}
MERGES = ["Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate"]


def check(model, folder, **options):
    known = session(randomized(model), folder, **options)
    for lengths, steps in (((6, 2, 3), 6), ((2,), 2)):
        x = padded(lengths, steps, F)
        for actual, expected in zip(run(known, x), outputs(model, x), strict=True):
            assert actual.shape == expected.shape
            np.testing.assert_allclose(actual, expected, atol=2e-5, rtol=1e-4)


def between(layer, mask=True):
    """An LSTM, the layer, another LSTM, whose states show whether the mask came through."""
    x = keras.Input((None, F))
    y = layer(LSTM(F, return_sequences=True)(layers.Masking()(x) if mask else x))
    return keras.Model(x, [y, LSTM(2, return_sequences=True)(y)])


@pytest.mark.parametrize("name", ALONG_TIME)
def test_along_time(name, tmp_path):
    check(between(ALONG_TIME[name](), mask=name != "Softmax"), tmp_path)


@pytest.mark.parametrize("name", WITHOUT_MASK)
def test_across_time(name, tmp_path):
    check(between(WITHOUT_MASK[name](), mask=False), tmp_path)


def test_activations(tmp_path):
    x = keras.Input((None, F))
    y = LSTM(F, return_sequences=True)(x)
    check(keras.Model(x, [layers.Activation(name)(y) for name in ACTIVATIONS]), tmp_path)


@pytest.mark.parametrize("opset", [17, 18])
@pytest.mark.parametrize("mask", [True, False])
def test_pooling(mask, opset, tmp_path):
    x = keras.Input((None, F))
    y = LSTM(F, return_sequences=True)(layers.Masking()(x) if mask else x)
    pools = [layers.GlobalAveragePooling1D(), layers.GlobalAveragePooling1D(keepdims=True)]
    if not mask:
        pools.append(layers.GlobalMaxPooling1D())
    check(keras.Model(x, [pool(y) for pool in pools]), tmp_path, opset=opset)


@pytest.mark.parametrize("name", MERGES)
def test_merges_and_their_masks(name, tmp_path):
    x = keras.Input((None, F))
    merge = getattr(layers, name)
    y = layers.Masking()(x)
    z = layers.Masking(0.5)(layers.Dense(F, activation="hard_sigmoid", bias_initializer="ones")(y))
    every = [merge()([y, z]), merge()([y, x]), layers.Add()([y, y])]
    check(keras.Model(x, [LSTM(2, return_sequences=True)(each) for each in every]), tmp_path)


def test_operations_lose_the_mask(tmp_path):
    x = keras.Input((None, F))
    y = layers.Masking()(x)
    z = (1 - y) * x / 2.0 + y
    check(keras.Model(x, [z, LSTM(2, return_sequences=True)(z)]), tmp_path)


@pytest.mark.parametrize("mask_zero", [True, False])
def test_embedding(mask_zero, tmp_path):
    model = randomized(
        keras.Sequential(
            [keras.Input((None,)), layers.Embedding(7, 3, mask_zero=mask_zero), LSTM(4)]
        )
    )
    known = session(model, tmp_path)
    dtype = "int64" if "int64" in known.get_inputs()[0].type else "float32"
    for ids in ([[1, 6, 3, 0], [2, 0, 0, 0]], [[0]]):
        x = np.array(ids, dtype)
        np.testing.assert_allclose(run(known, x)[0], outputs(model, x)[0], atol=1e-5)


@keras.saving.register_keras_serializable()
class Own(layers.Layer):
    def call(self, x):
        return x + 1

    def compute_output_shape(self, shape):
        return shape


REFUSED = {
    'Own "own"': lambda: Own(name="own"),
    'Lambda "l"': lambda: layers.Lambda(lambda x: x, name="l"),
    'Concatenate "c"': lambda: layers.Concatenate(axis=1, name="c"),
    'TimeDistributed "t"': lambda: layers.TimeDistributed(Own(), name="t"),
    'MultiHeadAttention "a"': lambda: layers.MultiHeadAttention(1, 2, name="a"),
    'Softmax "s"': lambda: layers.Softmax(axis=1, name="s"),
}


@pytest.mark.parametrize("message", REFUSED)
def test_a_layer_without_a_counterpart_is_named(message, tmp_path):
    x = keras.Input((None, F))
    y = LSTM(F, return_sequences=True)(x)
    layer = REFUSED[message]()
    several = isinstance(layer, layers.Concatenate)
    twice = isinstance(layer, layers.MultiHeadAttention)
    made = layer([y, x]) if several else layer(y, y) if twice else layer(y)
    with pytest.raises(ConveyorError, match=message):
        export(keras.Model(x, made), tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())
