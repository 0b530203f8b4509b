"""The likeliest tokens, found in blocks, are those that sorting finds."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from conveyor.seq2seq._candidates import likeliest, normalizers, top, top_candidates
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

    likeliest_tokens = to_numpy(likeliest(tensors[0], block))
    np.testing.assert_array_equal(likeliest_tokens, allowed.argmax(axis=1))


@settings(max_examples=30, deadline=None)
@given(st.lists(values, min_size=6, max_size=60), st.sampled_from([1, 5, 20]))
def test_of_equals_the_first(numbers, count):
    rows = np.resize(numbers, (3, 20)).astype("float32")
    order = np.argsort(-rows, axis=1, kind="stable")[:, :count]
    best, places = top(ops.convert_to_tensor(rows), count)
    np.testing.assert_array_equal(to_numpy(places), order)
    np.testing.assert_array_equal(to_numpy(best), np.take_along_axis(rows, order, axis=1))


def test_a_vocabulary_of_many():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(6, 8000)).astype("float32")
    logits[:, NEVER] = 9.0  # the likeliest of all
    totals = rng.normal(size=(2, 3)).astype("float32")
    exact = logits.astype("float64")
    exact -= np.log(np.exp(exact).sum(axis=1, keepdims=True))
    tensor = ops.convert_to_tensor(logits)
    normalizer = to_numpy(normalizers(tensor))
    np.testing.assert_allclose(normalizer, (logits - exact)[:, 0], rtol=1e-5)
    sums = exact.reshape(2, 3, -1) + totals[:, :, None]
    sums[:, :, NEVER] = -np.inf
    order = np.argsort(-sums.reshape(2, -1), axis=1)[:, :3]
    offsets = ops.convert_to_tensor(totals - normalizer.reshape(2, 3))
    best, beam, token = top_candidates(tensor, offsets, 3)
    np.testing.assert_array_equal(to_numpy(beam) * 8000 + to_numpy(token), order)
    np.testing.assert_allclose(
        to_numpy(best), np.take_along_axis(sums.reshape(2, -1), order, axis=1), rtol=1e-5
    )


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_where_nothing_may_follow_it_ends(value):
    assert to_numpy(likeliest(ops.full((2, 9), value))).tolist() == [END, END]
