"""Batches carry every pair once an epoch, in few shapes, and go on where they stopped."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conveyor import ConveyorError
from conveyor.seq2seq import Pair
from conveyor.seq2seq._batches import Batches, Position, pad
from conveyor.seq2seq._buckets import Shape, choose_shapes, fit
from conveyor.seq2seq._characters import Characters
from conveyor.seq2seq._config import DataConfig
from conveyor.seq2seq._encoded import encode_pairs
from conveyor.seq2seq._tokens import BEGIN, END, PADDING

LETTERS = Characters("abcdefghij")
SHAPES = pytest.mark.parametrize("fixed_shapes", [True, False])


def some_pairs(count=300, seed=0):
    """Pairs of 1 to 30 letters; targets about as long as sources, sometimes not at all."""
    rng = np.random.default_rng(seed)
    pairs = []
    for length in 1 + (rng.beta(1, 4, count) * 30).astype(int):
        other = length + rng.integers(-1, 2) if rng.random() < 0.95 else rng.integers(1, 31)
        pairs.append(
            Pair(*("".join(rng.choice(list(LETTERS.alphabet), n)) for n in (length, max(1, other))))
        )
    return pairs


PAIRS = some_pairs()


def batches(pairs=PAIRS, *, fixed_shapes=False, shapes=(), **settings):
    config = DataConfig(**{"batch_tokens": 120, "length_buckets": 4, **settings})
    encoded = encode_pairs(pairs, LETTERS, LETTERS, config)
    return Batches(encoded, config, fixed_shapes=fixed_shapes, shapes=shapes)


def epoch(stream_of, number=0):
    return list(
        itertools.islice(stream_of.stream(Position(number, 0)), stream_of.per_epoch(number))
    )


def assert_same(ours, theirs):
    assert ours.position == theirs.position
    assert ours.inputs.keys() == theirs.inputs.keys()
    for name, array in ours.inputs.items():
        np.testing.assert_array_equal(array, theirs.inputs[name])


@SHAPES
def test_an_epoch_has_every_pair_once(fixed_shapes):
    stream_of = batches(fixed_shapes=fixed_shapes)
    for number in (0, 7):
        drawn = epoch(stream_of, number)
        indices = np.concatenate([batch.indices for batch in drawn])
        assert sorted(indices) == list(range(len(PAIRS)))
        assert drawn[-1].position == Position(number + 1, 0)


@SHAPES
def test_batches_hold_the_texts_of_their_pairs(fixed_shapes):
    for batch in epoch(batches(fixed_shapes=fixed_shapes)):
        source, target = batch.inputs["source"], batch.inputs["target"]
        assert len(source) == len(target) >= batch.pairs
        for row, index in enumerate(batch.indices):
            ours, theirs = LETTERS.encode(PAIRS[index].source), LETTERS.encode(PAIRS[index].target)
            assert source[row].tolist() == ours + [PADDING] * (source.shape[1] - len(ours))
            assert target[row].tolist() == (
                [BEGIN, *theirs] + [PADDING] * (target.shape[1] - len(theirs) - 1)
            )
        assert not source[batch.pairs :].any()
        assert not target[batch.pairs :].any()
        assert batch.source_tokens == np.count_nonzero(source)
        assert all(array.dtype == np.int32 for array in batch.inputs.values())


@SHAPES
def test_labels_are_what_follows_at_their_positions(fixed_shapes):
    for batch in epoch(batches(fixed_shapes=fixed_shapes)):
        target, positions, labels = (batch.inputs[n] for n in ("target", "positions", "labels"))
        assert positions.shape == labels.shape == (120,)
        expected = [
            (row * target.shape[1] + step, token)
            for row, index in enumerate(batch.indices)
            for step, token in enumerate([*LETTERS.encode(PAIRS[index].target), END])
        ]
        count = batch.target_tokens
        assert list(zip(positions[:count], labels[:count], strict=True)) == expected
        assert not positions[count:].any()
        assert not labels[count:].any()
        # The input at these steps: BEGIN, or the label of the step before.
        assert all(
            seen == (BEGIN if first % target.shape[1] == 0 else before)
            for seen, first, before in zip(
                target.ravel()[positions[:count]], positions, [0, *labels], strict=False
            )
        )


@SHAPES
def test_the_stream_goes_on_from_any_position(fixed_shapes):
    unbroken = list(
        itertools.islice(batches(fixed_shapes=fixed_shapes).stream(), 3 * len(PAIRS) // 5)
    )
    assert unbroken[-1].position.epoch >= 2
    for start in (0, 1, len(unbroken) // 2, len(unbroken) - 2):
        resumed = batches(fixed_shapes=fixed_shapes).stream(unbroken[start].position)
        for ours, theirs in zip(resumed, unbroken[start + 1 :], strict=False):
            assert_same(ours, theirs)


def test_the_position_behind_an_epoch_is_the_next_one():
    stream_of = batches()
    end = Position(0, stream_of.per_epoch(0))
    assert_same(next(stream_of.stream(end)), next(stream_of.stream(Position(1, 0))))


def test_the_order_is_new_each_epoch_and_the_seed_decides():
    first = [[tuple(b.indices) for b in epoch(batches(), number)] for number in (0, 1)]
    assert first[0] != first[1]
    assert sorted(first[0]) != sorted(first[1])  # other pairs together, too
    assert first[0] == [tuple(b.indices) for b in epoch(batches())]
    assert first[0] != [tuple(b.indices) for b in epoch(batches(seed=1))]


def test_exact_shapes_fit_the_longest():
    for batch in epoch(batches()):
        assert batch.inputs["source"].shape[0] == batch.pairs
        assert batch.inputs["source"][:, -1].any()
        assert batch.inputs["target"][:, -1].any()


def test_batches_are_full_and_of_similar_lengths():
    drawn = epoch(batches())
    assert all(batch.target_tokens <= 120 for batch in drawn)
    assert all(batch.target_tokens > 120 - 31 for batch in sorted(drawn, key=len_of)[1:])
    steps = sum(batch.inputs["target"].size for batch in drawn)
    assert sum(batch.target_tokens for batch in drawn) / steps > 0.9


def len_of(batch):
    return batch.target_tokens


def test_fixed_shapes_are_few_and_mostly_filled_by_tokens():
    stream_of = batches(some_pairs(3000), fixed_shapes=True, batch_tokens=400)
    drawn = epoch(stream_of)
    shapes = {batch.inputs["source"].shape + batch.inputs["target"].shape[1:] for batch in drawn}
    assert shapes <= set(stream_of.shapes)
    assert 1 < len(stream_of.shapes) <= 4
    by_rows = [batch for batch in drawn if batch.pairs == len(batch.inputs["source"])]
    assert len(by_rows) < 0.05 * len(drawn) + 4
    assert np.mean([batch.target_tokens for batch in drawn]) > 0.93 * 400


def test_shapes_of_other_batches_are_shared_and_one_is_added_where_none_fits():
    train = batches(fixed_shapes=True)
    assert batches(PAIRS[:40], fixed_shapes=True, shapes=train.shapes).shapes == train.shapes
    long = Pair("a" * 60, "b")
    dev = batches([*PAIRS[:40], long], fixed_shapes=True, shapes=train.shapes)
    assert dev.shapes == (*train.shapes, Shape(1, 60, 2))
    indices = np.concatenate([batch.indices for batch in epoch(dev)])
    assert sorted(indices) == list(range(41))


@given(
    st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=1, max_size=60),
    st.integers(1, 6),
    st.integers(41, 200),
)
def test_chosen_shapes_hold_all(lengths, most, tokens):
    sources, targets = np.array(lengths).T
    shapes = choose_shapes(sources, targets, tokens=tokens, most=most)
    assert 1 <= len(shapes) <= most
    bucket = fit(shapes, sources, targets)
    assert bucket.max() < len(shapes)
    for shape, source, target in zip([shapes[b] for b in bucket], sources, targets, strict=True):
        assert source <= shape.source_steps
        assert target <= shape.target_steps
        assert shape.pairs >= 1


@SHAPES
def test_one_pair(fixed_shapes):
    batch = next(batches([Pair("a", "b")], fixed_shapes=fixed_shapes).stream())
    assert batch.inputs["source"].tolist() == [LETTERS.encode("a")]
    assert batch.position == Position(1, 0)


@SHAPES
def test_a_target_longer_than_a_batch(fixed_shapes):
    with pytest.raises(ConveyorError, match=r"batch_tokens=31.*or max_target_tokens=29"):
        batches([Pair("a", "b" * 30)], batch_tokens=30, fixed_shapes=fixed_shapes)
    stream_of = batches([Pair("a", "b" * 30)], batch_tokens=31, fixed_shapes=fixed_shapes)
    assert next(stream_of.stream()).target_tokens == 31


@pytest.mark.parametrize(
    ("pairs", "length", "tokens"),
    [(10, 9, 300), (10, 400, 401), (8_000, 9, 400), (40_000, 9, 1_500)],
)
def test_a_small_corpus_has_smaller_batches(pairs, length, tokens):
    stream_of = batches([Pair("a", "b" * length)] * pairs, batch_tokens=None, max_target_tokens=500)
    assert stream_of.tokens == tokens
    assert next(stream_of.stream()).target_tokens == min(pairs, tokens // (length + 1)) * (
        length + 1
    )


@pytest.mark.parametrize("position", [Position(-1, 0), Position(0, -1), Position(0, 10_000)])
def test_a_position_that_is_none(position):
    with pytest.raises(ConveyorError, match="a batch of an epoch"):
        next(batches().stream(position))


def test_pad():
    assert pad([[4, 5], [6]], 3).tolist() == [[4, 5, 0], [6, 0, 0]]
    assert pad([]).shape == (0, 0)
