"""Training learns, keeps to its limits, and can be stopped."""

from __future__ import annotations

import io
import itertools
import os
import signal

import keras
import numpy as np
import pytest
from rich.console import Console

from conveyor import ConveyorError
from conveyor.seq2seq import Config, Pair, Translator, score, train
from conveyor.seq2seq._schedule import Pace, learning_rate_at
from conveyor.seq2seq._training import _compile

WORDS = {"i": "1", "ii": "2", "v": "5", "x": "10"}
PAIRS = [Pair(f"{a} {b}", WORDS[a] + WORDS[b], (a,)) for a, b in itertools.product(WORDS, repeat=2)]
CONFIG = {
    "units": 16,
    "embedding_size": 8,
    "batch_size": 16,
    "length_groups": 1,
    "max_target_length": 5,
    "learning_rate": 0.05,
    "evaluate_every": 20,
}


def translator(**settings):
    return Translator.for_pairs(PAIRS, Config(**{**CONFIG, **settings}))


class After(keras.callbacks.Callback):
    """Does something at the end of a batch."""

    def __init__(self, batch, act):
        super().__init__()
        self.batch, self.act = batch, act

    def on_train_batch_end(self, batch, logs=None):
        if batch == self.batch:
            self.act()


def test_a_small_task_is_learned():
    model = translator(steps=80)
    before = score(model, PAIRS)
    output = io.StringIO()
    training = train(model, PAIRS, held_out=PAIRS, console=Console(file=output, width=120))
    assert training.steps == 80
    assert not training.interrupted
    assert training.losses[0] > 10 * training.losses[-1]
    assert len(training.losses) == len(training.exact_matches) == 4
    assert before.exact_match < 0.2
    after = score(model, PAIRS)
    assert after.exact_match == training.exact_matches[-1] >= 0.8
    assert len(output.getvalue().splitlines()) == 4
    for word in ("loss", "exact match", "tokens/s", "left"):
        assert word in output.getvalue()


def test_score_counts_by_tag():
    model = translator(steps=1)
    written = model.translate([pair.source for pair in PAIRS])
    right = [pair._replace(target=text) for pair, text in zip(PAIRS, written, strict=True)]
    wrong = [pair._replace(target="?") if pair.tags == ("i",) else pair for pair in right]
    assert score(model, right).exact_match == 1
    result = score(model, wrong)
    assert result.exact_match == 0.75
    assert result.by_tag == {"i": 0.0, "ii": 1.0, "v": 1.0, "x": 1.0}
    assert next(iter(result.by_tag)) == "i"
    assert [mistake.pair for mistake in result.mistakes] == wrong[:4]
    assert result.mistakes[0].written == written[0]


def test_a_time_limit_ends_the_training():
    output = io.StringIO()
    terminal = Console(file=output, force_terminal=True, width=80)
    training = train(translator(steps=None, max_seconds=0.01), PAIRS, console=terminal)
    assert training.steps == 1
    assert training.exact_matches == []
    assert "0 s left" in output.getvalue()


@pytest.mark.skipif(os.name == "nt", reason="a process cannot send itself Ctrl-C on Windows")
def test_ctrl_c_keeps_what_was_learned():
    model = translator(steps=1000)
    before = [keras.ops.convert_to_numpy(weight) for weight in model.trainable_variables]
    handler = signal.getsignal(signal.SIGINT)
    ctrl_c = After(5, lambda: os.kill(os.getpid(), signal.SIGINT))
    training = train(model, PAIRS, callbacks=[ctrl_c])
    assert training.interrupted
    assert training.steps < 10
    assert signal.getsignal(signal.SIGINT) is handler
    after = [keras.ops.convert_to_numpy(weight) for weight in model.trainable_variables]
    assert not any(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    assert len(model.translate(["i ii"])) == 1


def test_padding_of_targets_has_no_part_in_the_loss():
    model = translator()
    _compile(model)
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(1, 7, model.target.size)).astype("float32")
    wanted = np.array([[4, 5, 2, 0, 0, 0, 0]], "int32")

    def loss(length):
        value = model.compute_loss(y=wanted[:, :length], y_pred=logits[:, :length])
        return float(keras.ops.convert_to_numpy(value))

    assert loss(7) == pytest.approx(loss(3), abs=1e-5)
    assert loss(2) != pytest.approx(loss(3), abs=1e-2)


def test_the_learning_rate_rises_then_falls_to_zero():
    config = Config(learning_rate=0.01, warmup=0.1)
    rates = [learning_rate_at(p, config) for p in np.linspace(0, 1, 101)]
    assert rates[0] == pytest.approx(0.001)
    assert rates[10] == max(rates) == pytest.approx(0.01)
    assert rates[-1] == pytest.approx(0)
    assert all(np.diff(rates[:11]) > 0)
    assert all(np.diff(rates[10:]) < 0)
    assert learning_rate_at(0.0, Config(warmup=0.0, learning_rate=0.5)) == 0.5


def test_the_nearer_limit_sets_the_pace():
    pace = Pace(Config(steps=100, max_seconds=1e6))
    pace.steps = 50
    assert pace.progress == pytest.approx(0.5, abs=0.01)
    pace = Pace(Config(steps=100, max_seconds=1e-9))
    assert pace.progress == 1


def test_nothing_to_learn_from():
    with pytest.raises(ConveyorError, match="pairs to learn from"):
        train(translator(), [])
