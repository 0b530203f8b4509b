"""Which session has which row in the tables of states."""

from __future__ import annotations

from collections.abc import Hashable, Iterator

import numpy as np

from .._errors import lesson
from ._cells import Cell
from ._values import Rows

# By the path of the layer: hidden and cell state, of a GRU the hidden state alone.
States = dict[str, tuple[np.ndarray, ...]]

WHERE = "conveyor.Stream"


class Sessions:
    """Rows by key; a new key begins as the model does."""

    def __init__(self, cells: list[Cell]) -> None:
        self._cells = cells
        self._rows: dict[Hashable, int] = {}
        self._free: list[int] = [0]
        self._room = 1
        self._last: tuple[list[Hashable], Rows] | None = None

    def __iter__(self) -> Iterator[Hashable]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._rows

    def row(self, key: Hashable) -> int:
        """The row of a session, a new one for a new key."""
        row = self._rows.get(key)
        if row is None:
            if not self._free:
                self._free = list(range(2 * self._room - 1, self._room - 1, -1))
                self._room *= 2
                for cell in self._cells:
                    cell.make_room(self._room)
            row = self._rows[key] = self._free.pop()
            for cell in self._cells:
                cell.begin(row)
        return row

    def rows(self, keys: list[Hashable]) -> Rows:
        """Those of several sessions.

        Raises:
            ConveyorError: a session twice, or none.
        """
        # Mostly the same sessions as at the step before.
        if self._last is not None and self._last[0] == keys:
            return self._last[1]
        if len(keys) != len(set(keys)) or not keys:
            twice = next((key for key in keys if keys.count(key) > 1), None)
            raise lesson(
                WHERE,
                "a list of sessions, each once",
                f"{twice!r} twice" if keys else "an empty list",
                "Make its steps one after the other.",
            )
        numbers = [self.row(key) for key in keys]
        first, count = numbers[0], len(numbers)
        together = numbers == list(range(first, first + count))
        rows = Rows(first if together else np.array(numbers), count)
        self._last = list(keys), rows
        return rows

    def known(self, key: Hashable, what: str) -> int:
        """The row of a session that must be there."""
        if key not in self._rows:
            held = ", ".join(map(repr, list(self)[:5])) or "none yet"
            raise lesson(
                f"{WHERE}.{what}", f"a session, of {held}", repr(key), "step() begins a session."
            )
        return self._rows[key]

    def read(self, key: Hashable, what: str) -> States:
        """Copies of the states of a session."""
        row = self.known(key, what)
        return {c.path: tuple(table[row].copy() for table in c.tables) for c in self._cells}

    def check(self, states: States) -> None:
        """Refuse what are not the states of this model."""
        wanted = {
            cell.path: tuple(table.shape[1:] for table in cell.tables) for cell in self._cells
        }
        given = {path: tuple(map(np.shape, pair)) for path, pair in states.items()}
        if given != wanted:
            raise lesson(
                WHERE,
                ", ".join(
                    f"{'hidden and cell state' if len(shapes) > 1 else 'hidden state'} of {path} "
                    f"{_show(shapes)}"
                    for path, shapes in wanted.items()
                ),
                ", ".join(f"{path} {_show(shapes)}" for path, shapes in given.items()) or "none",
                "States belong to the model that they come from.",
            )

    def write(self, key: Hashable, states: States) -> None:
        """Set all states of a session, a new one for a new key.

        Raises:
            ConveyorError: not the states of this model; the session is left as it was.
        """
        self.check(states)
        row = self.row(key)
        for cell in self._cells:
            for table, state in zip(cell.tables, states[cell.path], strict=True):
                table[row] = state

    def begin_anew(self, key: Hashable) -> None:
        """The states of a new session."""
        for cell in self._cells:
            cell.begin(self._rows[key])

    def drop(self, key: Hashable) -> None:
        """Forget a session; its row is used again."""
        self._last = None
        self._free.append(self._rows.pop(key))


def _show(shapes: tuple[tuple[int, ...], ...]) -> str:
    """(4,) for two alike, else (2,) and (4,)."""
    return " and ".join(map(str, dict.fromkeys(shapes)))
