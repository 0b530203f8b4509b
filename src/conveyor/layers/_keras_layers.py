"""Keras's own LSTM layers, computed by `ops.lstm` for a while, so that they can be watched."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from .._errors import lesson
from ._keras_loop import run_loop, why_not
from ._lstm import LSTM

# Where Keras keeps the loop over the steps: states, dropout masks and flags are around it.
_LOOP = "inner_loop"


@contextmanager
def running_here(layers: Iterable[Any]) -> Iterator[None]:
    """Run the loops of these layers through `ops.lstm`, as `conveyor.LSTM` does.

    Their weights are read where they are, and nothing of the layers is changed afterwards.

    Raises:
        ConveyorError: a layer whose class computes something else than an LSTM.
    """
    theirs = [layer for layer in layers if not isinstance(layer, LSTM)]
    for layer in theirs:
        check_is_plain(layer)
    # Those that run here for good go on to.
    theirs = [layer for layer in theirs if not runs_here(layer)]
    try:
        for layer in theirs:
            run_here(layer)
        yield
    finally:
        for layer in theirs:
            vars(layer).pop(_LOOP, None)


@contextmanager
def running_on(layers: Iterable[Any], engine: str) -> Iterator[None]:
    """Run these layers, conveyor's or Keras's, on one engine; then all is as it was."""
    before: list[tuple[Any, dict[str, Any]]] = []
    try:
        for layer in layers:
            kept = _OF_OURS if isinstance(layer, LSTM) else (_LOOP,)
            before.append((layer, {name: vars(layer).get(name) for name in kept}))
            if isinstance(layer, LSTM):
                layer.engine = engine
            else:
                run_here(layer, engine)
        yield
    finally:
        for layer, kept_values in before:
            for name, value in kept_values.items():
                if value is None:
                    vars(layer).pop(name, None)
                else:
                    object.__setattr__(layer, name, value)


_OF_OURS = ("engine", "_decision")


def run_here(layer: Any, engine: str = "auto") -> None:
    """Run the loop of this layer of Keras through `ops.lstm` from now on."""
    # Past Keras, which would look for weights in it.
    object.__setattr__(layer, _LOOP, partial(run_loop, layer, engine=engine))


def runs_here(layer: Any) -> bool:
    """Whether it does."""
    return _LOOP in vars(layer)


def check_is_plain(layer: Any) -> None:
    """Refuse a layer whose class computes something else than the LSTM of Keras."""
    reason = why_not(layer)
    if reason is not None:
        raise lesson(
            f'LSTM "{layer.name}"',
            "the computation of keras.layers.LSTM, whose states can be told",
            reason,
            "Write conveyor.LSTM or keras.layers.LSTM in its place.",
        )
