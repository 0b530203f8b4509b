"""A search finds what there is to be found, whatever the batch."""

from __future__ import annotations

import math
from dataclasses import replace

import keras
import numpy as np
import pytest

from conveyor import ConveyorError
from conveyor.seq2seq import SearchConfig
from conveyor.seq2seq._backtrace import best_of_beams
from conveyor.seq2seq._batched_search import find
from conveyor.seq2seq._hypothesis import length_penalty
from conveyor.seq2seq._search import beam_trees, search
from conveyor.seq2seq._steps import Plan
from conveyor.seq2seq._tokens import END
from seq2seq.toy import Oracle, Table, sources

GREEDY = SearchConfig(beam=1, max_length_ratio=1.0, max_length_extra=5)
BEAMS = replace(GREEDY, beam=3)


@pytest.fixture(scope="module")
def model():
    return Table(9, seed=1)


@pytest.fixture(scope="module")
def small():
    return Table(6, seed=2)


def limit(config, source):
    return int(len(source) * config.max_length_ratio) + config.max_length_extra


def agree(one, other):
    """The same targets, with the same scores but for rounding."""
    assert [h.tokens for h in one] == [h.tokens for h in other]
    assert [h.finished for h in one] == [h.finished for h in other]
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a.score, b.score, rtol=1e-5)
        np.testing.assert_allclose(
            a.token_log_probabilities, b.token_log_probabilities, rtol=1e-4, atol=1e-5
        )


def test_greedy_takes_the_likeliest_token_at_each_step(model):
    oracle, texts = Oracle(model), sources(40)
    found = search(model, texts, GREEDY)
    for source, (hypothesis,) in zip(texts, found, strict=True):
        tokens, finished = oracle.greedy(source, limit(GREEDY, source))
        assert (hypothesis.tokens, hypothesis.finished) == (tokens, finished)
    lengths = [len(h.tokens) for (h,) in found]
    assert len(set(lengths)) > 5
    assert {h.finished for (h,) in found} == {True, False}


def test_one_beam_is_greedy(model):
    texts = sources(40)
    one_beam = [
        best_of_beams(paths, GREEDY.length_penalty, 1)
        for paths in find([model], Plan("beam"), texts, GREEDY)
    ]
    for beam, greedy in zip(one_beam, search(model, texts, GREEDY), strict=True):
        agree(beam, greedy)


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_a_beam_as_wide_as_the_space_is_an_exhaustive_search(small, alpha):
    oracle = Oracle(small)
    config = SearchConfig(
        beam=1 + 2 + 4 + 8 + 16,  # more prefixes there are not
        max_length_ratio=1e-9,
        max_length_extra=4,
        length_penalty=alpha,
    )
    for source, found in zip(sources(6), search(small, sources(6), config, n_best=9), strict=True):
        expected = oracle.every(source, 4, alpha)[:9]
        assert [h.tokens for h in found] == [tokens for _, tokens in expected]
        np.testing.assert_allclose([h.score for h in found], [s for s, _ in expected], rtol=1e-5)


def test_the_search_ends_when_no_beam_can_win_any_more(small):
    wide = SearchConfig(beam=31, max_length_ratio=1e-9, max_length_extra=30, length_penalty=0.0)
    texts = sources(6)
    early = beam_trees(small, texts, wide)
    late = beam_trees(small, texts, wide, n_best=31)
    assert sum(len(tree.tokens) for tree in early) < sum(len(tree.tokens) for tree in late)
    for one, other in zip(early, late, strict=True):
        agree(one.hypotheses, other.hypotheses[:1])


@pytest.mark.parametrize("config", [GREEDY, BEAMS, replace(BEAMS, no_repeat_ngram=2)])
def test_scores_add_up(model, config):
    oracle, texts = Oracle(model), sources(20, seed=4)
    for source, found in zip(texts, search(model, texts, config, n_best=config.beam), strict=True):
        for h in found:
            expected = oracle.token_log_probabilities(source, h.tokens, h.finished)
            np.testing.assert_allclose(h.token_log_probabilities, expected, rtol=1e-4, atol=1e-5)
            assert h.log_probability == pytest.approx(sum(h.token_log_probabilities))
            penalty = length_penalty(len(expected), config.length_penalty)
            assert h.score == pytest.approx(h.log_probability / penalty)
        assert [h.score for h in found if h.finished] == sorted(
            (h.score for h in found if h.finished), reverse=True
        )
        assert sorted(found, key=lambda h: not h.finished) == found


@pytest.mark.parametrize(
    "config",
    [
        GREEDY,
        BEAMS,
        replace(BEAMS, no_repeat_ngram=2),
        replace(GREEDY, sample=True, temperature=0.7, top_p=0.9),
    ],
    ids=["greedy", "beams", "no bigram twice", "samples"],
)
def test_company_and_padding_change_nothing(model, config):
    # Some leave the batch long before others; one is twice as long as the rest.
    texts = [*sources(15, seed=5, longest=14), sources(1, seed=6)[0] * 4]
    n_best = 2 if config.beam > 1 else 1
    together = search(model, texts, config, n_best=n_best)
    one_by_one = search(model, texts, replace(config, batch_tokens=1), n_best=n_best)
    for one, other in zip(together, one_by_one, strict=True):
        agree(one, other)


def test_probabilities_of_an_ensemble_are_averaged(small):
    models = [small, Table(6, seed=7), Table(6, seed=8)]
    oracle, texts = Oracle(*models), sources(12)
    for source, (h,) in zip(texts, search(models, texts, GREEDY), strict=True):
        assert (h.tokens, h.finished) == oracle.greedy(source, limit(GREEDY, source))
        np.testing.assert_allclose(
            h.token_log_probabilities,
            oracle.token_log_probabilities(source, h.tokens, h.finished),
            rtol=1e-4,
        )
    agree(search([small, small], texts, BEAMS)[3], search(small, texts, BEAMS)[3])


def test_models_of_two_vocabularies_are_no_ensemble(small, model):
    with pytest.raises(ConveyorError, match="6, 9 target tokens"):
        search([small, model], sources(1), GREEDY)


def grams(tokens, n):
    return [tuple(tokens[k : k + n]) for k in range(len(tokens) - n + 1)]


@pytest.mark.parametrize(("n", "beam"), [(1, 1), (1, 3), (2, 3), (3, 1)])
def test_no_ngram_twice(model, n, beam):
    texts = sources(30, seed=6, longest=14)
    config = replace(GREEDY, beam=beam)
    barred = replace(config, no_repeat_ngram=n)
    free, tamed = search(model, texts, config), search(model, texts, barred)
    repeating = [len(set(grams(h.tokens, n))) < len(grams(h.tokens, n)) for (h,) in free]
    assert any(repeating)
    for (h,), (as_before,), repeats in zip(tamed, free, repeating, strict=True):
        assert len(set(grams(h.tokens, n))) == len(grams(h.tokens, n))
        if not repeats and beam == 1:
            assert h.tokens == as_before.tokens


@pytest.mark.parametrize("beam", [1, 3])
def test_attention_is_that_of_each_step(model, beam):
    texts = [[], *sources(10, longest=9)]
    found = search(model, texts, replace(GREEDY, beam=beam), n_best=beam, return_attention=True)
    for source, hypotheses in zip(texts[1:], found[1:], strict=True):
        for h in hypotheses:
            steps = len(h.tokens) + h.finished
            expected = np.eye(len(source))[np.arange(steps) % len(source)]
            np.testing.assert_array_equal(h.attention, expected)


def test_the_attention_of_an_ensemble_is_the_mean(small):
    class Even(Table):
        def step(self, tokens, memory, state):
            logits, state, _ = super().step(tokens, memory, state)
            there = keras.ops.cast(keras.ops.not_equal(memory["source"], 0), "float32")
            return logits, state, there / keras.ops.sum(there, axis=1, keepdims=True)

    (h,), _ = search([small, Even(6)], [[4, 5, 6], [7] * 5], GREEDY, return_attention=True)
    np.testing.assert_allclose(h.attention[0], [0.5 + 1 / 6, 1 / 6, 1 / 6], rtol=1e-5)


def test_nothing_is_written_for_nothing(model):
    for config in (GREEDY, BEAMS, replace(GREEDY, sample=True)):
        first, second, third = search(model, [[], [5, 6], []], config)
        assert (first[0].tokens, first[0].log_probability, first[0].finished) == ([], 0.0, True)
        agree(second, search(model, [[5, 6]], config, number_from=1)[0])
        agree(first, third)
    assert search(model, [], BEAMS) == []
    assert beam_trees(model, [[]], BEAMS)[0].tokens.shape == (0, 3)


def test_ten_thousand_tokens(model):
    source = sources(1, seed=9)[0] * 2000
    config = replace(GREEDY, max_length_ratio=0.005, max_length_extra=1)
    (h,), (_,) = search(model, [source, [5]], config)
    assert h.tokens == Oracle(model).greedy(source, limit(config, source))[0]


def test_a_tree_holds_its_hypotheses(model):
    texts = sources(10, seed=10)
    for tree, found in zip(
        beam_trees(model, texts, BEAMS, n_best=3),
        search(model, texts, BEAMS, n_best=3),
        strict=True,
    ):
        agree(tree.hypotheses, found)
        assert (tree.finished == (tree.tokens == END)).all()
        ends = []
        for step, beam in np.argwhere(tree.finished):
            tokens, k = [], beam
            for row in range(step, -1, -1):
                tokens.append(int(tree.tokens[row, k]))
                k = tree.parents[row, k]
            assert k == -1
            ends.append((tokens[:0:-1], tree.log_probabilities[step, beam]))
        for h in found:
            if h.finished:
                assert (h.tokens, h.log_probability) in ends
        in_use = tree.tokens != 0
        assert (in_use == np.isfinite(tree.log_probabilities)).all()
        assert (in_use == (tree.parents >= 0))[1:].all()


def test_new_weights_are_seen(small):
    texts = sources(5)
    before = search(small, texts, BEAMS)
    table = small.tables[0]
    old = keras.ops.convert_to_numpy(table).copy()
    table.assign(-old)
    after = search(small, texts, BEAMS)
    table.assign(old)
    assert all(a.score != b.score for (a,), (b,) in zip(before, after, strict=True))
    for one, other in zip(before, search(small, texts, BEAMS), strict=True):
        agree(one, other)


@pytest.mark.parametrize(
    ("value", "config"),
    [
        (math.nan, GREEDY),
        (math.nan, BEAMS),
        (-math.inf, BEAMS),
        (math.nan, replace(GREEDY, sample=True, top_p=0.9)),
    ],
)
def test_logits_that_are_no_numbers(value, config):
    broken = Table(6)
    broken.tables[0].assign(np.full((6, 6, 6), value))
    with pytest.raises(ConveyorError, match="find_nonfinite"):
        search(broken, sources(3), config)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_best": 4}, "Write beam=4, n_best=4"),
        ({"n_best": 0}, "Write n_best=1"),
        ({"sources": [[5], [5, 0]]}, r"sources\[1\]=\[5, 0\]"),
        ({"sources": ["text"]}, r"sources\[0\]='text'"),
        ({"sources": [[1.5]]}, r"sources\[0\]"),
        ({"models": []}, "a model, or several"),
    ],
)
def test_what_cannot_be_searched_for(model, arguments, message):
    given = {"models": model, "sources": [[5]], **arguments}
    with pytest.raises(ConveyorError, match=message):
        search(given.pop("models"), given.pop("sources"), BEAMS, **given)


def test_samples_are_no_tree(model):
    with pytest.raises(ConveyorError, match="sample=False"):
        beam_trees(model, [[5]], replace(BEAMS, sample=True))
