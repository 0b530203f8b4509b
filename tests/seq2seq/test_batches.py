"""Batches carry every pair, in few lengths, in an order that the seed decides."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from conveyor import ConveyorError
from conveyor.seq2seq import Characters, Config, Pair
from conveyor.seq2seq._batches import Batches, group_lengths
from conveyor.seq2seq._characters import BEGIN, END, PADDING

SOURCE, TARGET = Characters("abcdefghij"), Characters("0123456789")
PAIRS = [Pair("abcdefghij"[: 1 + n % 10], str(n)) for n in range(50)]


def take(count, pairs=PAIRS, **settings):
    config = Config(**{"batch_size": 8, "max_target_length": 5, **settings})
    return list(itertools.islice(Batches(pairs, SOURCE, TARGET, config), count))


def test_a_round_has_every_pair():
    targets = [TARGET.decode(row) for _, y in take(7) for row in y]
    assert set(targets) == {pair.target for pair in PAIRS}
    assert len(targets) == 56  # full batches only


def test_sources_and_targets_stay_together():
    by_target = {pair.target: pair.source for pair in PAIRS}
    for x, y in take(7):
        for source, row in zip(x["source"], y, strict=True):
            assert SOURCE.decode(source) == by_target[TARGET.decode(row)]


def test_the_decoder_sees_the_target_one_step_before_it_writes_it():
    for x, y in take(3):
        assert (x["target"][:, 0] == BEGIN).all()
        for seen, wanted in zip(x["target"], y, strict=True):
            end = list(wanted).index(END)
            assert list(seen[1 : end + 1]) == list(wanted[:end])
            assert (wanted[end + 1 :] == PADDING).all()


def test_few_lengths_and_no_source_cut():
    lengths = {x["source"].shape for x, _ in take(70, length_groups=3)}
    assert len(lengths) <= 3
    assert all(batch == 8 for batch, _ in lengths)


def test_group_lengths_hold_the_longest():
    assert group_lengths(np.array([3, 3, 3]), 4).tolist() == [3]
    assert group_lengths(np.array([1, 2, 9]), 2).tolist() == [2, 9]


def test_fewer_pairs_than_a_batch():
    ((x, _),) = take(1, pairs=PAIRS[:3])
    assert x["source"].shape[0] == 8


def test_the_seed_decides_the_order():
    def sources(seed):
        return np.concatenate([x["source"].ravel() for x, _ in take(5, seed=seed, length_groups=1)])

    assert np.array_equal(sources(1), sources(1))
    assert not np.array_equal(sources(1), sources(2))


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([], "pairs to learn from"),
        ([Pair("a", "1"), Pair("", "2")], "source of pair 1"),
        ([Pair("a", "12345")], r"Config\(max_target_length=6\)"),
    ],
)
def test_pairs_that_cannot_be_learned_from(pairs, message):
    with pytest.raises(ConveyorError, match=message):
        take(1, pairs=pairs)
