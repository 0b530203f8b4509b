"""`outputs=`: which of the states are returned, in which order."""

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
    return cast(tuple[StateName, ...], check_names(outputs, STATE_NAMES, "LSTM", where))


def check_names(
    outputs: str | Sequence[str], known: Sequence[str], of: str, where: str
) -> tuple[str, ...]:
    """The same for a layer with other states.

    Args:
        outputs: what its user wrote.
        known: its states.
        of: what the layer is called.
        where: what refuses.
    """
    several = isinstance(outputs, (list, tuple))
    names = tuple(outputs) if several else (cast(str, outputs),)
    if not names:
        raise lesson(
            where,
            "at least one name in outputs",
            f"outputs={outputs!r}",
            f"Choose from {', '.join(known)}.",
        )
    for name in names:
        if name not in known:
            near = get_close_matches(str(name), known, n=1, cutoff=0.4)
            raise lesson(
                where,
                f"outputs to name states of the {of}",
                f"{name!r}",
                (f"Did you mean {near[0]!r}? " if near else "")
                + f"The names are {', '.join(known)}.",
            )
    if len(set(names)) < len(names):
        raise lesson(
            where, "each name once in outputs", f"outputs={outputs!r}", "Use the tensor twice."
        )
    return names
