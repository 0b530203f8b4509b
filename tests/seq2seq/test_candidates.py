"""The likeliest tokens, found in blocks, are those that sorting finds."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from conveyor.seq2seq._candidates import (
    Candidates,
    best_of_logits,
    best_of_vectors,
    top,
    top_candidates,
)
from conveyor.seq2seq._tokens import END
from frameworks import compiled, to_numpy

NEVER = [0, 1, 3]
# Few values: many of them are equal.
values = st.integers(-3, 3).map(float)


@st.composite
def problems(draw):
    # Of few shapes: each is compiled.
    size, beams = draw(st.sampled_from([(4, 1), (5, 3), (23, 3)]))
    logits = draw(st.lists(values, min_size=size, max_size=size * beams * 2))
    logits = np.resize(logits, (beams * 2, size)).astype("float32")
    unused = draw(st.lists(st.booleans(), min_size=beams * 2, max_size=beams * 2))
    offsets = np.where(unused, -np.inf, np.arange(beams * 2) % 2).astype("float32")
    return logits, offsets.reshape(2, beams), draw(st.sampled_from([None, 4]))


@functools.cache
def compiled_for(count, block):
    return compiled(lambda logits, offsets: top_candidates(logits, offsets, count, block))


@settings(max_examples=60, deadline=None)
@given(problems())
def test_the_best_of_all_beams(problem):
    logits, offsets, block = problem
    sources, beams = offsets.shape
    allowed = logits.copy()
    allowed[:, NEVER] = -np.inf
    sums = (allowed.reshape(sources, beams, -1) + offsets[:, :, None]).reshape(sources, -1)
    order = np.argsort(-sums, axis=1, kind="stable")[:, :beams]
    expected = np.take_along_axis(sums, order, axis=1)
    tensors = ops.convert_to_tensor(logits), ops.convert_to_tensor(offsets)
    best, beam, token = map(to_numpy, compiled_for(beams, block)(*tensors))
    np.testing.assert_array_equal(best, expected)
    found = expected > -np.inf  # what is never written has no place
    np.testing.assert_array_equal((beam * logits.shape[1] + token)[found], order[found])


@settings(max_examples=30, deadline=None)
@given(st.lists(values, min_size=6, max_size=60), st.sampled_from([1, 5, 20]))
def test_of_equals_the_first(numbers, count):
    rows = np.resize(numbers, (3, 20)).astype("float32")
    order = np.argsort(-rows, axis=1, kind="stable")[:, :count]
    best, places = top(ops.convert_to_tensor(rows), count)
    np.testing.assert_array_equal(to_numpy(places), order)
    np.testing.assert_array_equal(to_numpy(best), np.take_along_axis(rows, order, axis=1))


@pytest.mark.parametrize("by", ["logits", "vectors"])
def test_a_vocabulary_of_many(by):
    rng = np.random.default_rng(0)
    vectors, kernel = rng.normal(size=(6, 16)), rng.normal(size=(8000, 16))
    bias = rng.normal(size=8000)
    bias[NEVER] = 90.0  # the likeliest of all
    before = np.log(rng.random((2, 3)))
    before[1, 2] = -np.inf
    logits = vectors @ kernel.T + bias
    exact = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    totals = exact.reshape(2, 3, -1) + before[:, :, None]
    totals[:, :, NEVER] = -np.inf
    order = np.argsort(-totals.reshape(2, -1), axis=1)[:, :3]

    arrays = (vectors, kernel, bias) if by == "vectors" else (logits, logits)
    given = [ops.convert_to_tensor(a.astype("float32")) for a in (*arrays, before)]
    best = {"vectors": best_of_vectors, "logits": best_of_logits}[by]
    found = Candidates(*map(to_numpy, best(*given, 3)))
    np.testing.assert_array_equal(found.beams * 8000 + found.tokens, order)
    for actual, values in ((found.totals, totals), (found.log_probabilities, exact)):
        expected = np.take_along_axis(values.reshape(2, -1), order, axis=1)
        np.testing.assert_allclose(actual, expected, rtol=1e-5)


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_where_nothing_may_follow_it_ends(value):
    logits, before = ops.full((2, 9), value), ops.zeros((2, 1))
    found = best_of_logits(logits, logits, before, 1)
    assert to_numpy(found.tokens).tolist() == [[END], [END]]
    assert np.isnan(to_numpy(found.log_probabilities)).all()
    found = best_of_vectors(ops.full((2, 3), np.nan), ops.ones((9, 3)), ops.ones(9), before, 1)
    assert to_numpy(found.tokens).tolist() == [[END], [END]]
    assert np.isnan(to_numpy(found.log_probabilities)).all()
