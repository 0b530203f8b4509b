"""`outputs=`: which of the eight states are returned, in which order."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import cast

from .._errors import lesson
from .._vocabulary import STATE_NAMES, StateName


def check_outputs(outputs: str | Sequence[str], where: str) -> tuple[StateName, ...]:
    """The names as a tuple.

    Raises:
        ConveyorError: no name, an unknown one, or one given twice.

    >>> check_outputs("cell_states", "LSTM")
    ('cell_states',)
    """
    several = isinstance(outputs, (list, tuple))
    names = tuple(outputs) if several else (cast(str, outputs),)
    if not names:
        raise lesson(
            where,
            "at least one name in outputs",
            f"outputs={outputs!r}",
            f"Choose from {', '.join(STATE_NAMES)}.",
        )
    for name in names:
        if name not in STATE_NAMES:
            near = get_close_matches(str(name), STATE_NAMES, n=1, cutoff=0.4)
            raise lesson(
                where,
                "outputs to name states of the LSTM",
                f"{name!r}",
                (f"Did you mean {near[0]!r}? " if near else "")
                + f"The names are {', '.join(STATE_NAMES)}.",
            )
    if len(set(names)) < len(names):
        raise lesson(
            where, "each name once in outputs", f"outputs={outputs!r}", "Use the tensor twice."
        )
    return cast(tuple[StateName, ...], names)
