"""One training, from prepared pairs to the model to use."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import keras

from .._errors import lesson
from .._version import __version__
from ._batches import Batches
from ._best import BestModels, save_model
from ._checkpoint import assign_values, read_checkpoint, values_of, write_checkpoint
from ._config import Config
from ._dev import DevPairs
from ._evaluation import Evaluation
from ._folder import Folder
from ._history import Reporter, Reporters
from ._interrupt import Interrupt, stopping_on_interrupt
from ._learner import Learner
from ._log import Log
from ._loop import DIVERGED, INTERRUPTED, Loop, score_of
from ._model import Seq2Seq
from ._optimizer import optimizer_for
from ._prepare import Prepared
from ._state import LoopState
from ._tensorboard import TensorBoard


class Result(NamedTuple):
    """Of a run."""

    seq2seq: Seq2Seq  # the model to use
    model: str  # "best", "averaged", "last"
    model_step: int  # of the best, or of the last
    dev: Evaluation | None  # of it
    state: LoopState
    ended: str


class Run:
    """A training in this process.

    Args:
        ready: pairs and vocabularies.
        config: all settings.
        folder: where checkpoints, models and logs go, and where the training goes on from if
            there is a checkpoint; None: all is in memory.
        reporters: listen, beside the log.

    Raises:
        ConveyorError: a checkpoint of other pairs or of another model.
    """

    def __init__(
        self, ready: Prepared, config: Config, folder: Folder | None, reporters: Sequence[Reporter]
    ) -> None:
        self._ready, self._config, self._folder = ready, config, folder
        self._reporters = list(reporters)
        self._seq2seq = _model(ready, config)
        self._learner = Learner(self._seq2seq, config.training)
        self._optimizer = optimizer_for(config.training)
        self._learner.compile(optimizer=self._optimizer)
        self._optimizer.build(self._learner.trainable_variables)
        self.state, self._log_bytes = LoopState(), 0
        if folder is not None:
            self._restore(folder)
        self._log: Log | None = None
        self._batches = Batches(ready.train, config.data, fixed_shapes=_compiles())
        self._dev = self._dev_pairs()
        best = None if folder is None else folder.best
        self._best = BestModels(best, config.training.keep_best, self.state.best)

    def go(self, callbacks: Sequence[keras.callbacks.Callback] = ()) -> Result:
        """Train to the end or to Ctrl-C, and put the model to use in its place.

        Raises:
            ConveyorError: a loss that is not finite, before there was a model to keep; no room
                on the disk for the model.
        """
        with ExitStack() as closing:
            reporters = self._open_reporters(closing)
            interrupt = closing.enter_context(stopping_on_interrupt())
            reporters.began(self._facts())
            for note in self._ready.notes:
                reporters.notice(note)
            loop = Loop(
                learner=self._learner,
                config=self._config.training,
                pairs=len(self._ready.train),
                stream=self._batches.stream,
                evaluate=self._dev,
                best=self._best,
                save=self._save,
                reporter=reporters,
                callbacks=keras.callbacks.CallbackList(list(callbacks), model=self._learner),
                interrupt=interrupt,
                state=self.state,
            )
            ended = loop.run()
            try:
                result = self._finish(ended, reporters, interrupt)
            except OSError as error:
                raise self._no_room(error) from error
            reporters.ended(facts_of(result))
            return result

    def _restore(self, folder: Folder) -> None:
        checkpoint = read_checkpoint(folder.checkpoint, "resume")
        if checkpoint is None:
            return
        arrays, state = checkpoint
        if state["pairs"] != self._ready.train.digest:
            raise lesson(
                "resume",
                "the pairs that the training began with",
                "others: the files have changed since, and data/ in its folder is gone",
                "Put the files back as they were, or train anew in another folder.",
            )
        assign_values(self._learner.variables, "learner", arrays, "resume")
        assign_values(self._optimizer.variables, "optimizer", arrays, "resume")
        self.state, self._log_bytes = LoopState.from_dict(state["loop"]), state["log_bytes"]

    def _save(self, state: LoopState) -> None:
        if self._folder is None:
            return
        arrays = {
            **values_of(self._learner.variables, "learner"),
            **values_of(self._optimizer.variables, "optimizer"),
        }
        rest = {
            "loop": state.to_dict(),
            "log_bytes": 0 if self._log is None else self._log.size,
            "pairs": self._ready.train.digest,
        }
        write_checkpoint(self._folder.checkpoint, state.step, arrays, rest)

    def _dev_pairs(self) -> DevPairs | None:
        encoded = self._ready.dev_encoded
        if encoded is None:
            return None
        shapes = self._batches.shapes
        longest = int(encoded.target.lengths.max()) + 1  # END
        data = replace(self._config.data, batch_tokens=max(self._batches.tokens, longest))
        batches = Batches(encoded, data, fixed_shapes=_compiles(), shapes=shapes)
        return DevPairs(self._learner, self._ready.dev, batches, self._config)

    def _finish(self, ended: str, reporters: Reporter, interrupt: Interrupt) -> Result:
        """Checkpoint; choose the model to use, and write it."""
        if ended != DIVERGED:  # the weights are lost
            self._save(self.state)
        model, dev = "last", None
        if self._best.entries:
            model, dev = "best", self._dev_of_best()
            if self._config.training.average_best and ended != INTERRUPTED:
                try:
                    with interrupt.raising():
                        averaged = self._dev_of_average(reporters)
                except KeyboardInterrupt:
                    if not interrupt.requested:
                        raise
                    ended, averaged = INTERRUPTED, None
                if averaged is not None:
                    model, dev = "averaged", averaged
            if model == "best":
                self._best.load(self._seq2seq, self._best.entries[0][1])
        else:
            self._optimizer.finalize_variable_values(self._learner.trainable_variables)
        if self._folder is not None:
            save_model(self._seq2seq, self._folder.model)
        self._best.prune()
        step = self._best.entries[0][1] if model == "best" else self.state.step
        return Result(self._seq2seq, model, step, dev, self.state, ended)

    def _dev_of_best(self) -> Evaluation | None:
        step = self._best.entries[0][1]
        return next(entry.dev for entry in self.state.history if entry.step == step)

    def _dev_of_average(self, reporters: Reporter) -> Evaluation | None:
        """What the average of the best models reaches, if it is better than each of them."""
        if self._dev is None or len(self._best.entries) < 2:
            return None
        self._best.load_average(self._seq2seq)
        dev, _ = self._dev()
        training = self._config.training
        score, best = score_of(dev, training), self._best.entries[0][0]
        name = training.judge_by
        reporters.notice(
            f"The average of the best {len(self._best.entries)} models: {name} "
            f"{abs(score[0]):.4g}; the best one: {abs(best[0]):.4g}."
        )
        return dev if score > best else None

    def _open_reporters(self, closing: ExitStack) -> Reporters:
        reporters = list(self._reporters)
        missing = None
        if self._folder is not None:
            self._log = Log(self._folder.log, keep=self._log_bytes)
            reporters.insert(0, self._log)
            try:
                reporters.append(TensorBoard(self._folder.tensorboard, self.state.step))
            except ImportError as error:
                missing = str(error)
        together = Reporters(reporters)
        closing.callback(together.close)
        if missing:
            self._ready.notes.append(missing)
        return together

    def _facts(self) -> dict[str, Any]:
        ready = self._ready
        return {
            "step": self.state.step,
            "pairs": len(ready.train),
            "batch_tokens": self._batches.tokens,
            "dev_pairs": len(ready.dev),
            "source_vocabulary": ready.source.size,
            "target_vocabulary": ready.target.size,
            "parameters": self._seq2seq.count_params(),
            "backend": keras.backend.backend(),
            "conveyor": __version__,
            "keras": keras.__version__,
            "config": self._config.to_dict(),
        }

    def _no_room(self, error: OSError) -> Exception:
        path = "" if self._folder is None else str(self._folder.path)
        return lesson(
            "train",
            "a disk that the model can be written to",
            f"{error} in {path}, after step {self.state.step:,}",
            f"Make room, then write resume({path!r}): it goes on from the last checkpoint "
            "that could be written.",
        )


def facts_of(result: Result) -> dict[str, Any]:
    """How a training ended, as JSON has it."""
    state = result.state
    return {
        "ended": result.ended,
        "steps": state.step,
        "seconds": state.seconds,
        "target_tokens": state.target_tokens,
        "model": result.model,
        "model_step": result.model_step,
        "dev": None if result.dev is None else vars(result.dev),
    }


def _model(ready: Prepared, config: Config) -> Seq2Seq:
    policy = "mixed_bfloat16" if config.training.precision == "bfloat16" else "float32"
    with _seeded(config.training.seed):
        return Seq2Seq(ready.source, ready.target, config, dtype=policy)


def _compiles() -> bool:
    """Whether the backend compiles each shape of a batch anew."""
    return bool(keras.backend.backend() != "torch")


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Keras draws the seeds of weights and dropout from Python's random numbers."""
    before = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(before)
