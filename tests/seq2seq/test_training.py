"""Training learns, keeps to its limits, and can be stopped."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import random
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from conveyor import ConveyorError, _precision
from conveyor.seq2seq import Config, Learner, Pair, TrainingConfig
from conveyor.seq2seq._best import BestModels, weights_of
from conveyor.seq2seq._dev import DevPairs
from conveyor.seq2seq._evaluation import bleu_and_chrf
from conveyor.seq2seq._held_out import held_out, without
from conveyor.seq2seq._optimizer import optimizer_for
from conveyor.seq2seq._run import _seeded
from conveyor.seq2seq._scoring import evaluate, score
from conveyor.seq2seq._tokens import END
from conveyor.seq2seq._training import train
from frameworks import to_numpy

from .models import small, targets, tokens
from .test_loop import ctrl_c, no_ctrl_c
from .tiny import DEV, PAIRS, After, config


def test_copying_and_reversal_are_learned():
    """`>abc` is to be copied, `<abc` to be reversed; the dev pairs are not learned from."""
    rng = random.Random(0)
    strings = sorted({"".join(rng.choices("abcdef", k=rng.randint(2, 4))) for _ in range(1_400)})
    pairs = [Pair(f">{text}", text, ("copy",)) for text in strings]
    pairs += [Pair(f"<{text}", text[::-1], ("reversal",)) for text in strings]
    rng.shuffle(pairs)
    dev, rest = pairs[:40], pairs[40:]
    settings = {
        "model.units": 32,
        "model.embedding_size": 16,
        "model.output_size": 16,
        "model.attention": "additive",
        "model.attention_size": 32,
        "model.dropout": 0.0,
        "data.batch_tokens": 160,
        "label_smoothing": 0.0,
    }
    output = io.StringIO()
    training = train(
        rest,
        dev=dev,
        config=config(steps=320, evaluate_every=80, learning_rate=0.015, **settings),
        console=Console(file=output, width=120),
    )
    assert training.dev.exact_match == 1
    found = score(training.translator, dev)
    assert found.by_tag == {"copy": 1.0, "reversal": 1.0}
    assert training.model == "best"
    assert [entry.step for entry in training.history] == [80, 160, 240, 320]
    assert training.history[-1].loss < 0.1 * training.history[0].loss
    for words in (f"{len(rest):,} pairs to learn from", "exact 100.0%", "Ended by steps"):
        assert words in output.getvalue()


@no_ctrl_c
@pytest.mark.parametrize("fastest", ["float32", "bfloat16"])
def test_the_precision_is_decided_once(tmp_path, monkeypatch, fastest):
    monkeypatch.setattr(_precision, "fastest", lambda: fastest)
    training = train(PAIRS, tmp_path / "model", dev=[], config=config(precision="auto", steps=2))
    kept = Config.from_yaml(tmp_path / "model" / "config.yaml")
    assert kept.training.precision == fastest
    (seq2seq,) = training.translator.models
    assert seq2seq.compute_dtype == fastest


def test_ctrl_c_keeps_what_was_learned():
    handler = signal.getsignal(signal.SIGINT)
    after = After(3, ctrl_c)
    training = train(PAIRS, dev=[], config=config(steps=1000), callbacks=[after])
    assert training.interrupted
    assert training.steps == 3
    assert signal.getsignal(signal.SIGINT) is handler
    learned = [to_numpy(v) for v in training.translator.models[0].trainable_variables]
    for one, other in zip(learned, after.weights[-1], strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_same_settings_give_the_same_training_and_its_moving_average():
    found = []
    for seed in (1, 2):
        random.seed(seed)  # of the user; it plays no part, and goes on as it would
        after = After()
        settings = config(steps=4, moving_average=0.7)
        training = train(PAIRS, dev=[], config=settings, callbacks=[after])
        found.append(after.weights[-1])
        drawn = random.random()
        random.seed(seed)
        assert drawn == random.random()
    _assert_equal(*found)
    average = after.weights[0]
    for weights in after.weights[1:]:
        average = [0.7 * a + 0.3 * w for a, w in zip(average, weights, strict=True)]
    learned = training.translator.models[0].trainable_variables
    for one, other in zip(learned, average, strict=True):
        np.testing.assert_allclose(to_numpy(one), other, atol=1e-6)


def test_accumulated_gradients_equal_those_of_the_larger_batch():
    def learner(accumulate):
        with _seeded(0):
            model = small(dropout=0.0)
        settings = TrainingConfig(
            optimizer="adamw", accumulate=accumulate, weight_decay=0.01, clip_norm=0.1
        )
        found = Learner(model, settings)
        found.compile(optimizer=optimizer_for(settings))
        return found

    rng = np.random.default_rng(0)
    halves, whole = learner(2), learner(1)
    for _ in range(3):
        parts = [_batch(rng), _batch(rng)]
        for part in parts:
            halves.train_on_batch(part)
        both = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        both["positions"][20:] += 4 * 5  # behind the rows of the first
        whole.train_on_batch(both)
    for one, other in zip(halves.trainable_variables, whole.trainable_variables, strict=True):
        np.testing.assert_allclose(to_numpy(one), to_numpy(other), atol=2e-5)


def _batch(rng):
    """Four pairs of full length: 20 target tokens."""
    target = targets(rng, [4] * 4)
    labels = np.concatenate([target[:, 1:], np.full((4, 1), END, "int32")], axis=1)
    return {
        "source": tokens(rng, [3] * 4),
        "target": target,
        "positions": np.arange(20, dtype="int32"),
        "labels": labels.reshape(-1),
    }


@pytest.mark.parametrize("on_disk", [False, True])
def test_the_best_models_are_kept_and_averaged(tmp_path, on_disk):
    model = small()
    folder = tmp_path / "best" if on_disk else None
    best = BestModels(folder, keep=2)
    rng = np.random.default_rng(0)
    kept = {}
    scores = {1: (5.0, -3.0), 2: (7.0, -2.0), 3: (5.0, -2.0), 4: (5.0, -2.0), 5: (math.nan, -1.0)}
    for step, score_ in scores.items():
        kept[step] = [rng.normal(size=w.shape).astype("float32") for w in weights_of(model)]
        model.set_weights(kept[step])
        best.offer(model, step, score_)
        best.prune()
    assert [step for _, step in best.entries] == [2, 3]
    assert best.is_best((7.0, -1.0))
    assert not best.is_best((7.0, -2.0))
    best.load(model, 3)
    _assert_equal(weights_of(model), kept[3])
    best.load_average(model)
    mean = [(a.astype("float64") + b) / 2 for a, b in zip(kept[2], kept[3], strict=True)]
    for one, other in zip(weights_of(model), mean, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)
    if on_disk:
        assert len(list(folder.iterdir())) == 2
        again = keras.saving.load_model(best.path(2))
        _assert_equal(weights_of(again), kept[2])


def test_an_average_is_used_where_it_is_better(monkeypatch):
    settings = config(steps=6, evaluate_every=2, average_best=True, keep_best=3)
    judged = []

    def judge(self):
        # As if each evaluation was worse than the one before; the average is the fourth.
        judged.append(weights_of(self._learner.seq2seq))
        found, samples = real(self)
        exact = 0.9 if len(judged) == 4 and better else 0.5 - 0.1 * len(judged)
        return dataclasses.replace(found, exact_match=exact), samples

    real = DevPairs.__call__
    monkeypatch.setattr(DevPairs, "__call__", judge)
    for better in (True, False):
        judged.clear()
        training = train(PAIRS, dev=DEV, config=settings)
        assert training.model == ("averaged" if better else "best")
        assert training.dev.exact_match == pytest.approx(0.9 if better else 0.4)
        expected = judged[3] if better else judged[0]
        _assert_equal(weights_of(training.translator.models[0]), expected)


def _assert_equal(found, expected):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_bleu_and_chrf_are_those_of_sacrebleu_run_on_the_files(tmp_path):
    pytest.importorskip("sacrebleu")
    written = ["the cat sat on a mat .", "", "It is 5 o'clock, isn't it?", "ça va"]
    targets_ = ["the cat sat on the mat .", "empty", "It's five o'clock, isn't it?", "ça va bien"]
    (tmp_path / "written").write_text("\n".join(written) + "\n", encoding="utf-8")
    (tmp_path / "target").write_text("\n".join(targets_) + "\n", encoding="utf-8")
    command = [sys.executable, "-m", "sacrebleu", "target", "-i", "written", "-m", "bleu", "chrf"]
    told = subprocess.run(
        [*command, "-w", "6"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    bleu, chrf = json.loads(told.stdout)
    found = bleu_and_chrf(written, targets_)
    assert found["bleu"] == pytest.approx(bleu["score"], abs=1e-6)
    assert found["chrf"] == pytest.approx(chrf["score"], abs=1e-6)
    assert found["bleu_signature"] == bleu["signature"]


def test_perplexity_of_the_dev_pairs_is_the_scores_of_the_search():
    training = train(PAIRS, dev=DEV, config=config(steps=3))
    found = evaluate(training.translator, DEV, beam=1)
    assert found.perplexity == pytest.approx(training.dev.perplexity, rel=1e-4)
    assert found.exact_match == training.dev.exact_match
    with pytest.raises(ConveyorError, match="pairs to judge by"):
        evaluate(training.translator, [])


@given(
    st.lists(st.tuples(st.text("ab", max_size=7), st.text("c", max_size=2)), max_size=400),
    st.randoms(use_true_random=False),
)
def test_dev_pairs_are_held_out_whatever_the_order(texts, order):
    pairs = [Pair(*both) for both in texts]
    dev = held_out(pairs)
    assert len(dev) <= len(pairs) // 50
    assert len(set(dev)) == len(dev)
    if len(set(pairs)) >= len(pairs) // 50:
        assert len(dev) == len(pairs) // 50
    rest = list(without(pairs, dev))
    assert not set(rest) & set(dev)
    assert sorted(rest + [pair for pair in pairs if pair in dev]) == sorted(pairs)
    order.shuffle(pairs)
    assert held_out(pairs) == dev


def test_what_cannot_be_learned_from():
    for pairs, words in (
        ([], "pairs to learn from"),
        (["no-such-file.tsv"], "no-such-file"),
        (7, "pairs of texts"),
        ([("a",)], "pair 0"),
        ([("a", 1)], "pair 0"),
    ):
        with pytest.raises(ConveyorError, match=words):
            train(pairs, config=config(), dev=[])
    with pytest.raises(ConveyorError, match="warmup"):
        train(PAIRS, config=config(decay="inverse_sqrt", warmup=0.0))
