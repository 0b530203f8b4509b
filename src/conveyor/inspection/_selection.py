"""`select=` of a trace: which layers, states and units to keep."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .._errors import lesson
from ..layers._find import FoundLSTM
from ._kinds import KINDS, Kind, kind_of

Select = Mapping[str, Any]


@dataclass(frozen=True)
class Selection:
    """What is kept.

    Attributes:
        layers: paths, and folders of paths; None for all.
        states: their names; None for all that a layer has.
        units: their numbers; None for all.
        preactivations: whether they are kept, too.
    """

    layers: tuple[str, ...] | None
    states: tuple[str, ...] | None
    units: Sequence[int] | None
    preactivations: bool = False

    def has(self, path: str) -> bool:
        """Whether a call is kept."""
        bare = path.partition(" (call ")[0]
        return self.layers is None or any(
            bare == layer or bare.startswith(f"{layer}/") for layer in self.layers
        )

    def names(self, kind: Kind) -> tuple[str, ...]:
        """Of the arrays that are kept of a layer of this kind; none where it has none of them."""
        states = [name for name in kind.names if self.states is None or name in self.states]
        if self.states is not None:  # in the order in which they were asked for
            states.sort(key=self.states.index)
        kept = self.preactivations and (states or self.states is None)
        return (*states, *(kind.preactivations if kept else ()))

    def numbers(self, units: int) -> list[int]:
        """The units that are kept of a layer with so many."""
        return list(range(units)) if self.units is None else list(self.units)


def check_selection(
    select: Select | None, preactivations: bool, found: Iterable[FoundLSTM]
) -> Selection:
    """Read `select`.

    Raises:
        ConveyorError: a key, a layer, a state or a unit that is not there.
    """
    select = dict(select or {})
    found = tuple(found)
    layers = _texts(select.pop("layers", None), "layers")
    states = _texts(select.pop("states", None), "states")
    units = select.pop("units", None)
    if select:
        _refuse(f"the key {next(iter(select))!r}", "layers, states and units")
    paths = [item.path for item in found]
    for layer in layers or ():
        if not any(path == layer or path.startswith(f"{layer}/") for path in paths):
            _refuse(f"the layer {layer!r}", ", ".join(paths))
    kinds = [kind_of(item.layer.cell) for item in found]
    known = dict.fromkeys(name for kind in KINDS if kind in kinds for name in kind.names)
    for state in states or ():
        if state not in known:
            _refuse(f"the state {state!r}", ", ".join(known))
    kept = Selection(layers, states, None, preactivations)
    if units is None:
        return kept
    smallest = min(int(item.layer.cell.units) for item in found if kept.has(item.path))
    return replace(kept, units=_units(units, smallest))


def _texts(given: Any, key: str) -> tuple[str, ...] | None:
    if given is None:
        return None
    names: tuple[str, ...] = (given,) if isinstance(given, str) else tuple(given)
    if not names or not all(isinstance(name, str) for name in names):
        _refuse(f"{key}={given!r}", "one name or several")
    return names


def _units(given: Any, smallest: int) -> tuple[int, ...]:
    if isinstance(given, slice):
        given = range(smallest)[given]
    numbers = np.atleast_1d(np.asarray(given))
    whole = numbers.ndim == 1 and numbers.size and numbers.dtype.kind in "iu"
    if not whole or numbers.min() < 0 or numbers.max() >= smallest:
        _refuse(f"units={given!r}", f"numbers from 0 to {smallest - 1}, or a slice")
    return tuple(map(int, numbers))


def _refuse(given: str, wanted: str) -> None:
    raise lesson(
        "trace",
        f"select= with {wanted}",
        given,
        'Write select={"layers": ["encoder"], "states": ["cell_states"], "units": [0, 5]}; '
        "what is left out is kept whole.",
    )
