"""Where an LSTM is computed. `ops.lstm` asks here; nothing else does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast, get_args

from .._errors import lesson
from . import _portable, glue
from ._request import Array, Decision, LSTMRequest, States

EngineName = Literal["auto", "native", "portable"]

_NO_NATIVE = "it is not part of this version"


@dataclass(frozen=True)
class Engine:
    """An engine, and why it cannot be used here (None where it can)."""

    name: str
    what: str
    missing: str | None


def engines() -> tuple[Engine, ...]:
    """The engines, fastest first, and why one is missing.

    >>> [engine.name for engine in engines() if engine.missing is None]
    ['portable']
    """
    return (
        Engine("native", "C++ core, one call for the whole sequence (CPU)", _NO_NATIVE),
        Engine("portable", "keras.ops, on every backend, with every option", None),
    )


def choose(engine: str, where: str) -> Decision:
    """The engine for a request, and why not a faster one.

    Raises:
        ConveyorError: an unknown engine, or one that cannot run here.
    """
    if engine not in get_args(EngineName):
        raise lesson(
            where,
            f"engine to be one of {', '.join(map(repr, get_args(EngineName)))}",
            f"engine={engine!r}",
            'Write engine="auto" for the fastest that can do the job.',
        )
    if engine == "native":
        raise lesson(
            where,
            "an engine that is there",
            f'engine="native": {_NO_NATIVE}',
            'Write engine="auto"; conveyor.engines() lists what is there.',
        )
    return Decision("portable", {} if engine == "portable" else {"native": _NO_NATIVE})


def run(request: LSTMRequest, decision: Decision) -> States:
    """Compute the states that the request names, on the engine that was chosen."""
    return cast(States, glue.active().compiled(_portable.run, request))


__all__ = ["Array", "Decision", "Engine", "EngineName", "LSTMRequest", "choose", "engines", "run"]
