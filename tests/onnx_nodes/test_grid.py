"""ONNX Runtime beside the layer: every batch, number of steps and length."""

from __future__ import annotations

import itertools

import keras
import numpy as np
import pytest
from keras import layers

from conveyor import LSTM

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx_nodes.exported import outputs, padded, randomized, run, session

F = 3


def every_way():
    """One input, read forward, backward and in both directions; with learned states, and twice."""
    x = keras.Input((None, F))
    masked = layers.Masking()(x)
    names = ("hidden_states", "hidden_state", "cell_state", "cell_states")
    return keras.Model(
        x,
        [
            LSTM(4, outputs=names)(masked),
            LSTM(3, outputs=names, go_backwards=True)(masked),
            LSTM(3, outputs=names, initial_state="learned")(x),
            *layers.Bidirectional(LSTM(2, return_sequences=True, return_state=True))(masked),
            LSTM(2)(layers.LSTM(3, return_sequences=True)(masked)),
        ],
    )


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    model = randomized(every_way())
    return model, session(model, tmp_path_factory.mktemp("grid"))


@pytest.mark.parametrize(("batch", "steps"), itertools.product((1, 33), (1, 8)))
def test_shapes_and_lengths(exported, batch, steps):
    model, known = exported
    every = [[length] * batch for length in range(steps + 1)] if batch == 1 else []
    every.append(np.random.default_rng(0).integers(0, steps + 1, batch))
    for lengths in every:
        x = padded(lengths, steps)
        for actual, expected in zip(run(known, x), outputs(model, x), strict=True):
            assert actual.shape == expected.shape
            np.testing.assert_allclose(actual, expected, atol=2e-5)


def test_a_long_sequence(exported):
    model, known = exported
    x = padded([1000, 600], 1000)
    for actual, expected in zip(run(known, x), outputs(model, x), strict=True):
        np.testing.assert_allclose(actual, expected, atol=5e-5)


def test_masks_of_any_pattern(exported):
    model, known = exported
    rng = np.random.default_rng(0)
    x = padded([8] * 33, 8) * (rng.random((33, 8, 1)) < 0.6).astype("float32")
    for actual, expected in zip(run(known, x), outputs(model, x), strict=True):
        np.testing.assert_allclose(actual, expected, atol=2e-5)
