"""The training of a translator, on Keras's compile and fit."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
from rich.console import Console

from ._batches import Batches
from ._characters import PADDING
from ._model import Translator
from ._pairs import Pair
from ._progress import ProgressDisplay
from ._schedule import Pace, Schedule
from ._scoring import score


@dataclass(frozen=True)
class Training:
    """What a training did. Lists have one entry an evaluation."""

    steps: int
    seconds: float
    losses: list[float]  # mean over the batches since the evaluation before
    exact_matches: list[float]  # on the held-out pairs; empty without such
    interrupted: bool  # whether Ctrl-C ended it


def train(
    translator: Translator,
    pairs: Sequence[Pair],
    *,
    held_out: Sequence[Pair] = (),
    console: Console | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> Training:
    """Train a translator in place, as its `config` says.

    The loss is the cross entropy of each target token given the source and the target before
    it. Now and then the held-out pairs are translated, by the search as in use, and compared
    exactly. Ctrl-C ends the training after the batch at hand, with what has been learned; a
    second Ctrl-C interrupts at once.

    Args:
        translator: gets the new weights, and an optimizer if it has none.
        pairs: to learn from.
        held_out: to judge by; none: no evaluation. A thousand is plenty.
        console: where to show the progress; None: nowhere.
        callbacks: of Keras, in addition.

    Raises:
        ConveyorError: pairs that cannot be learned from.

    >>> from conveyor.seq2seq import Config
    >>> pairs = [Pair("uno", "1"), Pair("due", "2"), Pair("tre", "3")]
    >>> config = Config(units=16, embedding_size=8, batch_size=3, steps=20)
    >>> train(Translator.for_pairs(pairs, config), pairs).steps
    20
    """
    config = translator.config
    pace = Pace(config)
    batches = Batches(pairs, translator.source, translator.target, config)
    _compile(translator)
    evaluation = _Evaluation(translator, held_out)
    all_callbacks = [Schedule(pace, config), evaluation, *callbacks]
    display = None
    if console is not None:
        display = ProgressDisplay(pace, batches.tokens_per_batch, console)
        all_callbacks.append(display)
    try:
        with _stopping_on_interrupt() as interrupt:
            translator.fit(
                iter(batches),
                # An epoch, to Keras, is what lies between two evaluations.
                steps_per_epoch=config.evaluate_every,
                epochs=_ENDLESS,  # Schedule ends it
                shuffle=False,
                callbacks=[*all_callbacks, interrupt],
                verbose=0,
            )
    finally:
        if display is not None:
            display.close()
    return Training(
        pace.steps,
        pace.seconds,
        evaluation.losses,
        evaluation.exact_matches,
        interrupt.requested,
    )


_ENDLESS = 10**9


def _compile(translator: Translator) -> None:
    if translator.compiled:
        return  # loaded with its optimizer: go on with its moments
    translator.compile(
        # beta_2: the moments of Adam must keep up with a training of a few thousand batches.
        optimizer=keras.optimizers.Adam(beta_2=0.99, global_clipnorm=translator.config.clip_norm),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=PADDING),
    )


class _Evaluation(keras.callbacks.Callback):
    """Translates the held-out pairs at the end of each of Keras's epochs."""

    def __init__(self, translator: Translator, held_out: Sequence[Pair]) -> None:
        super().__init__()
        self._translator = translator
        self._held_out = held_out
        self.losses: list[float] = []
        self.exact_matches: list[float] = []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.losses.append(float(logs["loss"]))
        if self._held_out:
            logs["exact_match"] = score(self._translator, self._held_out).exact_match
            self.exact_matches.append(logs["exact_match"])


class _Interrupt(keras.callbacks.Callback):
    """Stops after the batch at hand once asked to.

    An exception in the midst of a batch would lose the weights: on JAX they are in the hands
    of the compiled step.
    """

    def __init__(self) -> None:
        super().__init__()
        self.requested = False

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self.requested:
            model: Any = self.model
            model.stop_training = True


@contextmanager
def _stopping_on_interrupt() -> Iterator[_Interrupt]:
    """Ctrl-C is a request to stop, as long as this lasts."""
    interrupt = _Interrupt()
    if threading.current_thread() is not threading.main_thread():
        yield interrupt  # Python takes signals in the main thread only
        return
    before = signal.getsignal(signal.SIGINT)

    def request(*_: Any) -> None:
        interrupt.requested = True
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, request)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, before)
