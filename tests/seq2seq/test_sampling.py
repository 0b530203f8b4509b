"""Samples come as often as they are likely."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from conveyor.seq2seq import SearchConfig
from conveyor.seq2seq._sampling import draw
from conveyor.seq2seq._search import search
from conveyor.seq2seq._tokens import END
from frameworks import compiled, to_numpy
from seq2seq.toy import Oracle, Table, sources

NEVER = [0, 1, 3]
SAMPLES = SearchConfig(sample=True, max_length_ratio=1.0, max_length_extra=5)


def probabilities(logits, temperature, top_p):
    """Of the nucleus, by sorting."""
    logits = np.array(logits, "float64")
    logits[NEVER] = -np.inf
    p = np.exp((logits - logits.max()) / temperature)
    p /= p.sum()
    order = np.argsort(-p, kind="stable")
    before = np.cumsum(p[order]) - p[order]
    edge = p[order][before < top_p].min()
    p[p < edge] = 0
    return p / p.sum()


def tensors(*arrays):
    return [ops.convert_to_tensor(np.asarray(array, "float32")) for array in arrays]


@functools.cache
def drawing(nucleus):
    return compiled(lambda *given: draw(*given[: 3 + nucleus]))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(-8, 8, width=32), min_size=4, max_size=30),
    st.sampled_from([0.1, 0.7, 1.0, 3.0]),
    st.sampled_from([0.05, 0.5, 0.9, 1.0]),
    st.integers(0, 2**31),
)
def test_a_token_is_drawn_where_its_probability_lies(logits, temperature, top_p, seed):
    uniforms = np.random.default_rng(seed).random(8, dtype="float32")
    rows = np.tile(np.resize(logits, 30).astype("float32"), (8, 1))
    drawn = to_numpy(drawing(top_p < 1)(*tensors(rows, uniforms, temperature, top_p)))
    p = probabilities(rows[0], temperature, top_p)
    above = np.cumsum(p)
    for token, u in zip(drawn, uniforms, strict=True):
        assert p[token] > 0
        assert above[token] - p[token] - 1e-5 <= u <= above[token] + 1e-5


def test_the_ends_of_the_range():
    logits = np.zeros((2, 8000), "float32")
    logits[:, 7000:] = -200.0  # no weight in float32
    uniforms = np.array([0, np.nextafter(np.float32(1), np.float32(0))], "float32")
    assert to_numpy(draw(*tensors(logits, uniforms, 1))).tolist() == [END, 6999]
    assert to_numpy(draw(*tensors(logits * np.nan, uniforms, 1))).tolist() == [END, END]


@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (0.6, 1.0), (1.0, 0.7)])
def test_first_tokens_are_spread_as_the_model_says(temperature, top_p):
    model, source, count = Table(9, seed=1, scale=0.7), [5, 8, 4], 2000
    config = replace(
        SAMPLES, temperature=temperature, top_p=top_p, max_length_ratio=0.1, max_length_extra=1
    )
    found = search(model, [source] * count, config)
    first = [[*h.tokens, END][0] for (h,) in found]
    shares = np.bincount(first, minlength=9) / count
    expected = probabilities(Oracle(model).log_probabilities(source, []), temperature, top_p)
    assert (shares[expected == 0] == 0).all()
    deviation = np.sqrt(expected * (1 - expected) / count)
    assert (np.abs(shares - expected) <= 4 * deviation).all(), (shares, expected)


def test_a_seed_decides():
    model, texts = Table(9, seed=1), sources(8)

    def tokens(config=SAMPLES, **arguments):
        return [[h.tokens for h in each] for each in search(model, texts, config, **arguments)]

    assert tokens() == tokens()
    assert tokens() != tokens(replace(SAMPLES, seed=1))
    # The first of several is one of them: each is drawn by itself.
    assert all(one[0] in several for one, several in zip(tokens(), tokens(n_best=3), strict=True))


def test_samples_are_scored_as_the_model_scores_them():
    model, texts = Table(9, seed=1), sources(10)
    config = replace(SAMPLES, temperature=2.0, top_p=0.8)
    for source, found in zip(texts, search(model, texts, config, n_best=3), strict=True):
        for h in found:
            expected = Oracle(model).token_log_probabilities(source, h.tokens, h.finished)
            np.testing.assert_allclose(h.token_log_probabilities, expected, rtol=1e-4, atol=1e-5)
        assert [h.score for h in found] == sorted((h.score for h in found), reverse=True) or any(
            not h.finished for h in found
        )
