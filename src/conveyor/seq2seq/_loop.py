"""Batch after batch, until the end; and what goes on between them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import keras

from .._errors import lesson
from ._batches import Batch, Position
from ._best import BestModels, Score
from ._config import TrainingConfig
from ._evaluation import Evaluation, perplexity_of
from ._history import Evaluated, Reporter, Sample, TrainedBatch
from ._interrupt import Interrupt
from ._learner import Learner
from ._optimizer import averaged
from ._schedule import Clock, learning_rate_at, shares_done
from ._state import LoopState

# Where `evaluate_every` says nothing: so many evaluations, none sooner than so many batches.
_EVALUATIONS: Final = 20
_BATCHES_BETWEEN_EVALUATIONS: Final = 10

# Reasons for the end beside the limits of the schedule.
INTERRUPTED: Final = "interrupted"
STOPPED: Final = "stopped by a callback"
NO_BETTER: Final = "patience"
DIVERGED: Final = "diverged"


class Loop:
    """Trains a learner in place.

    Everything between two batches happens in one order: is it the end, is an evaluation due,
    is a checkpoint due. A training that goes on from a checkpoint enters at the same place.

    Args:
        learner: compiled, its optimizer built.
        config: of the training.
        pairs: in the data, for what an epoch is.
        stream: the batches from a position on, without end.
        evaluate: measures of the dev pairs, and samples; None: there are no such pairs.
        best: the best models so far.
        save: writes a checkpoint; raises OSError where it cannot.
        reporter: listens.
        callbacks: of Keras.
        interrupt: whether Ctrl-C was pressed.
        state: where to begin.
    """

    def __init__(
        self,
        *,
        learner: Learner,
        config: TrainingConfig,
        pairs: int,
        stream: Callable[[Position], Iterable[Batch]],
        evaluate: Callable[[], tuple[Evaluation, tuple[Sample, ...]]] | None,
        best: BestModels,
        save: Callable[[LoopState], None],
        reporter: Reporter,
        callbacks: keras.callbacks.CallbackList,
        interrupt: Interrupt,
        state: LoopState,
    ) -> None:
        self._learner = learner
        self._config = config
        self._pairs = pairs
        self._stream = stream
        self._evaluate_dev = evaluate
        self._best = best
        self._save = save
        self._reporter = reporter
        self._callbacks = callbacks
        self._interrupt = interrupt
        self._state = state
        self._clock = Clock(state.seconds)
        self._saved = -math.inf  # when

    def run(self) -> str:
        """Train to the end; returns the reason for it.

        Raises:
            ConveyorError: a loss that is not finite, and no model before it to go back to.
        """
        self._learner.stop_training = False
        batches = iter(self._stream(Position(*self._state.position)))
        self._callbacks.on_train_begin()
        self._callbacks.on_epoch_begin(len(self._state.history))
        self._checkpoint()
        self._clock = Clock(self._state.seconds)
        reason = self._until_the_end(batches)
        self._callbacks.on_train_end()
        return reason

    def _until_the_end(self, batches: Iterator[Batch]) -> str:
        while True:
            reason = self._reason_to_end()
            if reason != INTERRUPTED and self._evaluation_due(reason):
                self._evaluate()
                continue  # that may have been a reason
            if reason is not None:
                return reason
            if time.monotonic() - self._saved >= 60 * self._config.checkpoint_minutes:
                self._checkpoint()
            loss = self._train(next(batches))
            if not math.isfinite(loss):
                self._diverged(loss)
                return DIVERGED

    @property
    def _epoch(self) -> float:
        return self._state.pairs / self._pairs

    def _shares_done(self) -> dict[str, float]:
        return shares_done(
            self._config,
            steps=self._state.step,
            epochs=self._epoch,
            seconds=self._clock.seconds,
        )

    @property
    def _progress(self) -> float:
        return min(1.0, max(self._shares_done().values()))

    def _reason_to_end(self) -> str | None:
        if self._interrupt.requested:
            return INTERRUPTED
        if self._learner.stop_training:
            return STOPPED
        if self._config.patience is not None and self._without_better() >= self._config.patience:
            return NO_BETTER
        if not self._state.step:
            return None  # one batch at least
        shares = self._shares_done()
        limit = max(shares, key=shares.__getitem__)
        return limit if shares[limit] >= 1 else None

    def _without_better(self) -> int:
        """Evaluations since the best one."""
        history = self._state.history
        return next((n for n, entry in enumerate(reversed(history)) if entry.best), 0)

    def _evaluation_due(self, reason: str | None) -> bool:
        state, every = self._state, self._config.evaluate_every
        if state.step == state.evaluated_at:
            return False
        if reason is not None:
            return True
        if every is not None:
            return state.step % every == 0
        return (
            state.step - state.evaluated_at >= _BATCHES_BETWEEN_EVALUATIONS
            and self._marks() > state.evaluations_due
        )

    def _marks(self) -> int:
        return int(self._progress * _EVALUATIONS)

    def _train(self, batch: Batch) -> float:
        state, learner = self._state, self._learner
        progress = self._progress
        rate = learning_rate_at(progress, self._config)
        learner.optimizer.learning_rate = rate
        if learner.sampling_share is not None:
            learner.sampling_share.assign(self._config.scheduled_sampling * progress)
        self._callbacks.on_train_batch_begin(state.step)
        logs = learner.train_on_batch(batch.inputs, return_dict=True)
        loss, cross_entropy = float(logs["loss"]), float(logs["nll"])
        if not math.isfinite(loss):
            return loss
        state.step += 1
        state.pairs += batch.pairs
        state.position = (batch.position.epoch, batch.position.batch)
        state.target_tokens += batch.target_tokens
        state.tokens += batch.target_tokens
        state.loss += loss * batch.target_tokens
        state.cross_entropy += cross_entropy * batch.target_tokens
        state.seconds = self._clock.seconds
        self._reporter.trained(
            TrainedBatch(
                step=state.step,
                epoch=self._epoch,
                loss=loss,
                cross_entropy=cross_entropy,
                learning_rate=rate,
                target_tokens=batch.target_tokens,
                seconds=state.seconds,
                progress=self._progress,
            )
        )
        self._callbacks.on_train_batch_end(state.step - 1, logs)
        return loss

    def _evaluate(self) -> None:
        """Take stock; keep the model if it is good; checkpoint."""
        with self._clock.paused():
            self._reporter.evaluating()
            try:
                with averaged(self._learner.optimizer, self._learner.trainable_variables):
                    with self._interrupt.raising():
                        found = None if self._evaluate_dev is None else self._evaluate_dev()
                    self._record(*(found or (None, ())))
            except KeyboardInterrupt:
                if not self._interrupt.requested:
                    raise
                return  # the evaluation is still due when the training goes on
        self._callbacks.on_epoch_begin(len(self._state.history))
        self._checkpoint()
        self._best.prune()

    def _record(self, dev: Evaluation | None, samples: tuple[Sample, ...]) -> None:
        state = self._state
        best = False
        if dev is not None:
            score = score_of(dev, self._config)
            best = self._best.is_best(score)
            try:
                self._best.offer(self._learner.seq2seq, state.step, score)
            except OSError as error:
                self._reporter.notice(
                    f"The model of step {state.step:,} could not be kept ({error})."
                )
        evaluated = Evaluated(
            step=state.step,
            epoch=self._epoch,
            seconds=state.seconds,
            loss=state.loss / state.tokens,
            perplexity=perplexity_of(state.cross_entropy / state.tokens),
            learning_rate=float(keras.ops.convert_to_numpy(self._learner.optimizer.learning_rate)),
            dev=dev,
            best=best,
            samples=samples,
        )
        state.history.append(evaluated)
        state.best = list(self._best.entries)
        state.evaluated_at, state.evaluations_due = state.step, self._marks()
        state.loss, state.cross_entropy, state.tokens = 0.0, 0.0, 0
        self._reporter.evaluated(evaluated)
        self._callbacks.on_epoch_end(len(state.history) - 1, _logs(evaluated))

    def _checkpoint(self) -> None:
        self._saved = time.monotonic()  # also where it fails: not again at the next batch
        try:
            self._save(self._state)
        except OSError as error:
            self._reporter.notice(
                f"The checkpoint of step {self._state.step:,} could not be written ({error}); "
                "the one before is still there. The training goes on and tries again."
            )

    def _diverged(self, loss: float) -> None:
        rate = learning_rate_at(self._progress, self._config)
        error = lesson(
            "train",
            "a loss that is a finite number",
            f"{loss} at step {self._state.step + 1:,}, with the learning rate {rate:.3g}",
            "Write a smaller training.learning_rate or training.clip_norm, or a longer "
            "training.warmup.",
        )
        if not self._best.entries:
            raise error
        self._reporter.notice(str(error))


def score_of(dev: Evaluation, config: TrainingConfig) -> Score:
    """What `judge_by` names, and the perplexity; higher is better."""
    if config.judge_by == "perplexity":
        return -dev.perplexity, -dev.perplexity
    return getattr(dev, config.judge_by), -dev.perplexity


def _logs(evaluated: Evaluated) -> dict[str, float]:
    """For Keras's callbacks, under the names that it would use itself."""
    logs = {"loss": evaluated.loss}
    if evaluated.dev is not None:
        for name in ("perplexity", "bleu", "chrf", "exact_match"):
            value = getattr(evaluated.dev, name)
            if value is not None:
                logs[f"val_{name}"] = value
    return logs
