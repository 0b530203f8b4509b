"""Greedy search in batches is greedy search one by one."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from conveyor.seq2seq import Decoder, Encoder, GreedySearch
from conveyor.seq2seq._characters import BEGIN, END, PADDING

MAX_LENGTH = 9


@pytest.fixture
def models():
    encoder, decoder = Encoder(12, 8, 16), Decoder(7, 8, 16)
    encoder.build((None, None))
    decoder.build((None, None))
    # Weights large enough that the targets differ; some end early and some never.
    rng = np.random.default_rng(6)
    for weight in (*encoder.weights, *decoder.weights):
        weight.assign(rng.normal(size=weight.shape))
    return encoder, decoder


def one_by_one(encoder, decoder, source):
    """Greedy search as one would explain it."""
    states = encoder(source[None])
    token, written = BEGIN, []
    while len(written) < MAX_LENGTH and token not in (END, PADDING):
        logits, states = decoder(np.array([[token]], "int32"), states)
        token = int(np.argmax(keras.ops.convert_to_numpy(logits)[0, 0]))
        written.append(token)
    return written + [PADDING] * (MAX_LENGTH - len(written))


def test_greedy_equals_a_loop_over_examples(models):
    rng = np.random.default_rng(1)
    sources = rng.integers(4, 12, size=(16, 6)).astype("int32")
    batched = GreedySearch(*models, MAX_LENGTH).predict_on_batch(sources)
    assert batched.tolist() == [one_by_one(*models, source) for source in sources]
    lengths = np.count_nonzero(batched, axis=1)
    assert lengths.min() < MAX_LENGTH  # some ended
    assert len(np.unique(batched, axis=0)) > 8  # and they differ


def test_padding_of_the_source_changes_nothing(models):
    rng = np.random.default_rng(2)
    sources = rng.integers(4, 12, size=(8, 6)).astype("int32")
    padded = np.pad(sources, ((0, 3), (0, 5)), constant_values=PADDING)
    search = GreedySearch(*models, MAX_LENGTH)
    assert np.array_equal(
        search.predict_on_batch(sources), search.predict_on_batch(padded)[: len(sources)]
    )


def test_padding_leaves_the_states_as_they_are(models):
    encoder, _ = models
    source = np.array([[5, 9, 4, 11]], "int32")
    states = encoder(source)
    padded = encoder(np.pad(source, ((0, 0), (0, 7)), constant_values=PADDING))
    for state, same in zip(states, padded, strict=True):
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(state), keras.ops.convert_to_numpy(same), atol=1e-6
        )


def test_one_step_at_a_time_equals_all_at_once(models):
    _, decoder = models
    rng = np.random.default_rng(3)
    tokens = rng.integers(1, 7, size=(3, 5)).astype("int32")
    states = tuple(rng.normal(size=(2, 3, 16)).astype("float32"))
    at_once, last_states = decoder(tokens, states)
    for step in range(5):
        logits, states = decoder(tokens[:, step : step + 1], states)
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(logits)[:, 0],
            keras.ops.convert_to_numpy(at_once)[:, step],
            atol=1e-5,
        )
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(states[1]),
        keras.ops.convert_to_numpy(last_states[1]),
        atol=1e-5,
    )
