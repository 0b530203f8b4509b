"""Keras's own LSTM and GRU layers, computed here for a while, so that they can be watched."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from .._errors import lesson
from ._find import is_gru
from ._gru import GRU
from ._keras_loop import run_loop
from ._known_cells import why_unknown
from ._lstm import LSTM

# Where Keras keeps the loop over the steps: states, dropout masks and flags are around it.
_LOOP = "inner_loop"


@contextmanager
def running_here(layers: Iterable[Any]) -> Iterator[None]:
    """Run the loops of these layers through `ops.lstm`, as `conveyor.LSTM` does, or `ops.gru`.

    Their weights are read where they are, and nothing of the layers is changed afterwards.

    Raises:
        ConveyorError: a layer whose class computes something else than an LSTM or a GRU.
    """
    theirs = [layer for layer in layers if not isinstance(layer, (LSTM, GRU))]
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
            ours = isinstance(layer, (LSTM, GRU))
            kept = _OF_OURS if ours else (_LOOP,)
            before.append((layer, {name: vars(layer).get(name) for name in kept}))
            if ours:
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
    """Run the loop of this layer of Keras through `ops.lstm` or `ops.gru` from now on."""
    # Past Keras, which would look for weights in it.
    object.__setattr__(layer, _LOOP, partial(run_loop, layer, engine=engine))


def runs_here(layer: Any) -> bool:
    """Whether it does."""
    return _LOOP in vars(layer)


def check_is_plain(layer: Any) -> None:
    """Refuse a layer whose class computes something else than the LSTM or the GRU of Keras."""
    reason = why_unknown(layer)
    if reason is not None:
        kind = "GRU" if is_gru(layer) else "LSTM"
        raise lesson(
            f'{kind} "{layer.name}"',
            f"the computation of keras.layers.{kind}, whose states can be told",
            reason,
            f"Write conveyor.{kind} or keras.layers.{kind} in its place.",
        )
