"""What happens between batches: ends, evaluations, checkpoints. The learner is a list of losses."""

from __future__ import annotations

import itertools
import math
import os
import signal
import types

import keras
import numpy as np
import pytest

from conveyor import ConveyorError
from conveyor.seq2seq import Batch, Position
from conveyor.seq2seq._best import BestModels
from conveyor.seq2seq._evaluation import Evaluation
from conveyor.seq2seq._history import Reporter
from conveyor.seq2seq._interrupt import Interrupt, stopping_on_interrupt
from conveyor.seq2seq._loop import Loop
from conveyor.seq2seq._state import LoopState

from .tiny import config

no_ctrl_c = pytest.mark.skipif(
    os.name == "nt", reason="a process cannot send itself Ctrl-C on Windows"
)
PAIRS = 12  # of the corpus; a batch has four


def ctrl_c(*_):
    os.kill(os.getpid(), signal.SIGINT)


class Learner:
    """Its loss is what it is told to be, or the number of the batch in the data."""

    def __init__(self, losses=None, act=lambda learner: None):
        self.losses, self.act = losses, act
        self.optimizer = types.SimpleNamespace(learning_rate=0.0, use_ema=False)
        self.trainable_variables = []
        self.sampling_share = None
        self.seq2seq = types.SimpleNamespace(weights=[])
        self.seen = []

    def train_on_batch(self, inputs, return_dict):
        self.seen.append(inputs)
        self.act(self)
        loss = self.losses[len(self.seen) - 1] if self.losses else float(inputs)
        return {"loss": loss + 0.5, "nll": loss}


def stream(position):
    epoch, batch = position
    for number in itertools.count(3 * epoch + batch):
        after = Position(*divmod(number + 1, 3))
        yield Batch(number, after, np.arange(4), source_tokens=9, target_tokens=10 + number)


def evaluation(score):
    return Evaluation(
        pairs=2,
        perplexity=3.0,
        translated=2,
        exact_match=score,
        sentences_per_second=1.0,
        tokens_per_second=1.0,
    )


class Run:
    """A loop, and what it did."""

    def __init__(self, learner, state=None, scores=None, interrupt=None, save=None, **settings):
        self.learner = learner
        self.state = LoopState() if state is None else state
        self.saved, self.notices = [], []
        reporter = Reporter()
        reporter.notice = self.notices.append
        judge = None
        if scores is not None:
            scores = iter(scores)

            def judge():
                return evaluation(next(scores)), ()

        self.best = BestModels(None, 2, self.state.best)
        self.ended = Loop(
            learner=learner,
            config=config(**settings).training,
            pairs=PAIRS,
            stream=stream,
            evaluate=judge,
            best=self.best,
            save=save or (lambda state: self.saved.append(state.step)),
            reporter=reporter,
            callbacks=keras.callbacks.CallbackList([]),
            interrupt=interrupt or Interrupt(),
            state=self.state,
        ).run()
        self.evaluated = [entry.step for entry in self.state.history]


def test_every_limit_ends_it():
    assert Run(Learner(), steps=7).state.step == 7
    run = Run(Learner(), steps=None, epochs=1.5, scores=[0.5])
    assert (run.ended, run.state.step) == ("epochs", 5)  # 20 of 18 pairs
    run = Run(Learner(), steps=None, max_minutes=1e-9, scores=[0.5])
    assert (run.ended, run.state.step) == ("max_minutes", 1)

    def stop(learner):
        learner.stop_training = len(learner.seen) == 4

    run = Run(Learner(act=stop), steps=9, scores=[0.5])
    assert (run.ended, run.state.step, run.evaluated) == ("stopped by a callback", 4, [4])


def test_patience_counts_evaluations_since_the_best():
    scores = [0.2, 0.5, 0.4, 0.5, 0.3, 0.9]
    run = Run(Learner(), steps=100, evaluate_every=2, patience=3, scores=scores)
    assert (run.ended, run.evaluated) == ("patience", [2, 4, 6, 8, 10])
    assert [entry.best for entry in run.state.history] == [True, True, False, False, False]
    assert [step for _, step in run.best.entries] == [4, 8]


def test_evaluations_are_spread_over_the_training():
    run = Run(Learner(), steps=400, scores=[0.1] * 30)
    assert run.evaluated == list(range(20, 401, 20))
    run = Run(Learner(), steps=55, scores=[0.1] * 30)  # none sooner than ten batches
    assert run.evaluated == [10, 20, 30, 40, 50, 55]
    assert run.saved == [0, *run.evaluated]


def test_means_are_per_target_token_since_the_evaluation_before():
    run = Run(Learner(), steps=5, evaluate_every=3, scores=[0.1] * 9)
    tokens = np.arange(10, 15)
    losses = np.arange(5)
    for entry, part in zip(run.state.history, (slice(3), slice(3, 5)), strict=True):
        mean = np.average(losses[part], weights=tokens[part])
        assert entry.loss == pytest.approx(mean + 0.5)
        assert entry.perplexity == pytest.approx(math.exp(mean))
    assert run.state.target_tokens == tokens.sum()


@pytest.mark.parametrize("broken_at", range(1, 8))
def test_a_state_goes_on_where_it_was(broken_at):
    settings = {"steps": 8, "evaluate_every": 3}
    whole = Run(Learner(), scores=[0.1, 0.3, 0.2], **settings)
    interrupt = Interrupt()
    scores = iter([0.1, 0.3, 0.2])

    def act(learner):
        if len(learner.seen) == broken_at:
            interrupt.requested = True

    first = Run(Learner(act=act), interrupt=interrupt, scores=scores, **settings)
    assert (first.ended, first.state.step) == ("interrupted", broken_at)
    state = LoopState.from_dict(first.state.to_dict())
    assert state == first.state
    second = Run(Learner(), state=state, scores=scores, **settings)
    assert first.learner.seen + second.learner.seen == list(range(8))
    for entries in (first.state.history, second.state.history):
        for entry, expected in zip(entries, whole.state.history, strict=False):
            assert (entry.step, entry.loss, entry.dev) == (
                expected.step,
                expected.loss,
                expected.dev,
            )
    assert second.evaluated == whole.evaluated
    assert second.best.entries == whole.best.entries


@no_ctrl_c
def test_ctrl_c_in_an_evaluation_leaves_it_to_do():
    def scores():
        ctrl_c()
        yield 0.1

    handler = signal.getsignal(signal.SIGINT)
    with stopping_on_interrupt() as interrupt:
        run = Run(Learner(), steps=8, evaluate_every=4, scores=scores(), interrupt=interrupt)
    assert signal.getsignal(signal.SIGINT) is handler
    assert (run.ended, run.state.step, run.evaluated) == ("interrupted", 4, [])
    run = Run(Learner(), state=run.state, steps=8, evaluate_every=4, scores=[0.1, 0.2])
    assert run.evaluated == [4, 8]


@no_ctrl_c
def test_a_second_ctrl_c_interrupts_at_once():
    def twice(learner):
        ctrl_c()
        ctrl_c()

    with stopping_on_interrupt() as interrupt, pytest.raises(KeyboardInterrupt):
        Run(Learner(act=twice), steps=8, interrupt=interrupt)


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_ends_it(loss):
    losses = [1.0, 1.0, 1.0, loss]
    with pytest.raises(ConveyorError, match=f"{loss} at step 4"):
        Run(Learner(losses), steps=8)
    run = Run(Learner(losses), steps=8, evaluate_every=2, scores=[0.1])
    assert (run.ended, run.state.step, run.saved) == ("diverged", 3, [0, 2])
    assert "training.learning_rate" in run.notices[0]


def test_what_cannot_be_saved_is_said_and_tried_again():
    saved = []

    def save(state):
        saved.append(state.step)
        if state.step == 3:
            raise OSError(28, "No space left on device")

    run = Run(Learner(), steps=6, evaluate_every=3, scores=[0.1, 0.2], save=save)
    assert saved == [0, 3, 6]
    assert run.state.step == 6
    (notice,) = run.notices
    assert "step 3" in notice
    assert "No space left" in notice
