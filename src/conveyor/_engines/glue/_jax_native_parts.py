"""JAX: what one bind of a primitive of the native engine is asked, part by part.

A part is a request, of an LSTM or of a GRU, without its arrays; `given` are the names of the
arrays, which come first among its operands; the rest are names of states and of gradients, in the
order of the core. Parts do not wait for each other, such as the two directions of a layer: the core
runs them side by side. Operands and results are those of the first part, then those of the second.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

from .. import _cells
from .._cells import Cell, Names


@dataclass(frozen=True)
class _Part:
    request: Any
    given: Names

    @property
    def cell(self) -> Cell:
        return _cells.of(self.request)


@dataclass(frozen=True)
class Forward(_Part):
    """arrays -> states, and the reserve where `keep` says so."""

    outputs: Names
    keep: bool

    @property
    def operands(self) -> int:
        """How many."""
        return len(self.given)

    @property
    def results(self) -> int:
        """How many."""
        return len(self.outputs) + self.keep


@dataclass(frozen=True)
class Tangent(_Part):
    """arrays, hidden_states, reserve, tangents of arrays -> tangents of states."""

    outputs: Names
    moving: Names

    @property
    def operands(self) -> int:
        """How many."""
        return len(self.given) + 2 + len(self.moving)

    @property
    def results(self) -> int:
        """How many."""
        return len(self.outputs)


@dataclass(frozen=True)
class Backward(_Part):
    """arrays, hidden_states, reserve, d_states -> gradients of arrays."""

    arriving: Names
    wanted: Names

    @property
    def operands(self) -> int:
        """How many."""
        return len(self.given) + 2 + len(self.arriving)

    @property
    def results(self) -> int:
        """How many."""
        return len(self.wanted)


Part = Forward | Tangent | Backward
P = TypeVar("P", Forward, Tangent, Backward)


def with_operands(
    parts: Iterable[P], *operands: Sequence[Any]
) -> Iterator[tuple[P, list[list[Any]]]]:
    """Each part, and its share of one or several sequences with a place for every operand."""
    flat = [iter(each) for each in operands]
    return ((part, [list(islice(f, part.operands)) for f in flat]) for part in parts)


def with_results(parts: Iterable[P], results: Sequence[Any]) -> Iterator[tuple[P, list[Any]]]:
    """The same for results."""
    flat = iter(results)
    return ((part, list(islice(flat, part.results))) for part in parts)


def of_all(of_one: Callable[..., Sequence[Any]]) -> Callable[..., list[Any]]:
    """A function of a part and its operands as one of all operands, with `parts`."""

    def all_of(*operands: Any, parts: tuple[Any, ...]) -> list[Any]:
        return [r for part, (its,) in with_operands(parts, operands) for r in of_one(part, *its)]

    return all_of
