"""Training: from pairs of texts to a translator, in memory or in a folder that outlives crashes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
from rich.console import Console

from .. import _precision
from ._checkpoint import read_checkpoint
from ._config import Config
from ._display import Display
from ._evaluation import Evaluation
from ._folder import Folder
from ._given import Pairs, are_of_dialogues, opened
from ._history import Evaluated, Reporter
from ._lock import locked
from ._loop import DIVERGED, INTERRUPTED
from ._prepare import prepare
from ._record import begin, continued, pairs_of, result_of, write_result
from ._run import Result, Run, facts_of
from ._schedule import check_schedule
from ._state import LoopState
from ._translator import Translator


@dataclass(frozen=True)
class Training:
    """What came out of a training."""

    translator: Translator  # with the model to use
    model: str  # which that is: "best" on the dev pairs, "averaged" from the best, or "last"
    model_step: int  # its step, if it is the best or the last
    dev: Evaluation | None  # of that model; None: it was not evaluated
    history: tuple[Evaluated, ...]  # one entry an evaluation
    steps: int  # batches
    seconds: float  # of training; evaluation does not count
    ended: str  # "epochs", "steps", "max_minutes", "patience", "interrupted", ...
    folder: Path | None

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C ended it: `resume` goes on."""
        return self.ended == INTERRUPTED


def train(
    pairs: Pairs,
    out: str | Path | None = None,
    *,
    dev: Pairs | None = None,
    config: Config | None = None,
    console: Console | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> Training:
    """Train a translator.

    With `out`, everything is in that folder, and nothing is lost whatever happens: after
    Ctrl-C, `kill -9` or a full disk `resume(out)` goes on where the last checkpoint was. Ctrl-C
    ends the training after the batch at hand; a second one interrupts at once.

    Args:
        pairs: to learn from: a file (or two parallel ones), what `read_pairs` or
            `read_dialogues` gives, or pairs in memory.
        out: a folder that is not there yet, or empty; None: nothing is written.
        dev: to judge by, the same kinds; None: one pair in fifty, at most 1,000, is held out;
            `[]`: nothing is judged, the last model is the one to use.
        config: settings of model, text, data and training; by default `Config()`, of dialogues
            `Config.for_dialogues()`.
        console: where to show the progress; None: nowhere.
        callbacks: of Keras; an epoch is, to them, what lies between two evaluations.

    Raises:
        ConveyorError: pairs that cannot be learned from; a folder that holds a model; a loss
            that becomes infinite before there is a model to keep.
        ImportError: a package of the extra seq2seq is missing; the message says which.

    >>> from conveyor.seq2seq import Config
    >>> config = Config().with_settings(
    ...     {
    ...         "text.tokens": "characters", "training.steps": 3, "data.batch_tokens": 16,
    ...         "model.units": 8, "model.embedding_size": 8, "model.output_size": 8,
    ...     }
    ... )
    >>> training = train([("uno", "1"), ("due", "2"), ("tre", "3")], config=config, dev=[])
    >>> training.steps, training.ended, training.model
    (3, 'steps', 'last')
    """
    if config is None:
        config = Config.for_dialogues() if are_of_dialogues(pairs) else Config()
    config = _with_precision(config)
    check_schedule(config.training, "train")
    given = opened(pairs, config.data)
    given_dev = None if dev is None else opened(dev, config.data)
    if out is None:
        run = Run(prepare(given, given_dev, config, None), config, None, _reporters(console))
        return _training(run.go(callbacks), None)
    folder = Folder(out)
    folder.path.mkdir(parents=True, exist_ok=True)
    with locked(folder.path, "train"):
        begin(folder, given, given_dev, config)
        return _go(folder, config, console, callbacks)


def resume(
    out: str | Path,
    *,
    settings: Mapping[str, Any] | None = None,
    console: Console | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> Training:
    """Go on with a training, to the end that its settings say.

    On the same machine, with the same versions, and an end by `epochs` or `steps`, each loss is
    to the bit what it would have been without the interruption. With `max_minutes` the clock
    decides how far the schedule is.

    Args:
        out: the folder that was given to `train`.
        settings: of the training, to change: `{"training.epochs": 40}` prolongs one that is
            finished.
        console, callbacks: as in `train`.

    Raises:
        ConveyorError: no training in this folder, or one of another version; files that are
            missing; settings that cannot change any more.
    """
    folder = Folder(out)
    if not folder.training.exists():
        continued(folder, {})  # which says what is wrong with it
    with locked(folder.path, "resume"):
        config, notes = continued(folder, settings or {})
        result = result_of(folder)
        if result is not None:
            if console is not None:
                console.print(
                    f"The training in {folder.path} is finished: {result['ended']} after "
                    f"{result['steps']:,} steps."
                )
            return _finished(folder, result)
        return _go(folder, config, console, callbacks, notes)


def _with_precision(config: Config) -> Config:
    """What "auto" is here; from now on a setting like the others, also where it is resumed."""
    if config.training.precision != "auto":
        return config
    return config.with_settings({"training.precision": _precision.fastest()})


def _go(
    folder: Folder,
    config: Config,
    console: Console | None,
    callbacks: Sequence[keras.callbacks.Callback],
    notes: Sequence[str] = (),
) -> Training:
    ready = pairs_of(folder, config, list(notes))
    run = Run(ready, config, folder, _reporters(console))
    result = run.go(callbacks)
    if result.ended not in {INTERRUPTED, DIVERGED}:
        write_result(folder, facts_of(result))
    return _training(result, folder)


def _training(result: Result, folder: Folder | None) -> Training:
    return Training(
        translator=Translator(result.seq2seq),
        model=result.model,
        model_step=result.model_step,
        dev=result.dev,
        history=tuple(result.state.history),
        steps=result.state.step,
        seconds=result.state.seconds,
        ended=result.ended,
        folder=None if folder is None else folder.path,
    )


def _finished(folder: Folder, result: Mapping[str, Any]) -> Training:
    checkpoint = read_checkpoint(folder.checkpoint, "resume")
    history = () if checkpoint is None else LoopState.from_dict(checkpoint.state["loop"]).history
    return Training(
        translator=Translator.load(folder.path),
        model=result["model"],
        model_step=result["model_step"],
        dev=None if result["dev"] is None else Evaluation(**result["dev"]),
        history=tuple(history),
        steps=result["steps"],
        seconds=result["seconds"],
        ended=result["ended"],
        folder=folder.path,
    )


def _reporters(console: Console | None) -> list[Reporter]:
    return [] if console is None else [Display(console)]
