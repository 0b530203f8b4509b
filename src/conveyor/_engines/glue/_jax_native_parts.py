"""JAX: what one bind of a primitive of the native engine is asked, part by part.

A part is a request, of an LSTM or of a GRU, without its arrays; `given` are the names of the
arrays, which come first among its operands; the rest are names of states and of gradients, in the
order of the core. The core runs the parts of one bind at the same time where it can, such as two
directions of a layer. Operands and results are those of the first part, then those of the second.

A part that is `chained` reads the first result of the one before, and has no operand for it: in a
stack of layers a forward part the hidden states of the layer below as x, a tangent part their
tangents, a backward part the d_x of the layer above.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Self, TypeVar

from .. import _cells
from .._cells import Cell, Names


@dataclass(frozen=True)
class _Part:
    request: Any
    given: Names
    chained: bool = field(default=False, kw_only=True)

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

    def alone(self, operands: Sequence[Any], read: Any) -> tuple[Self, list[Any]]:
        """Not chained: what it reads is an operand."""
        part = replace(self, given=("x", *self.given), chained=False)
        return part, [read, *operands]


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

    def alone(self, operands: Sequence[Any], read: Any) -> tuple[Self, list[Any]]:
        """Not chained: what it reads is an operand."""
        part = replace(self, moving=("x", *self.moving), chained=False)
        known = len(self.given) + 2
        return part, [*operands[:known], read, *operands[known:]]


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

    def alone(self, operands: Sequence[Any], read: Any) -> tuple[Self, list[Any]]:
        """Not chained: what it reads is an operand."""
        part = replace(self, arriving=("hidden_states", *self.arriving), chained=False)
        known = len(self.given) + 2
        return part, [*operands[:known], read, *operands[known:]]


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


def in_turn(
    parts: Iterable[P], operands: Sequence[Any], of_one: Callable[..., Sequence[Any]]
) -> list[Any]:
    """The results of all, from `of_one(part, *its operands)`; none of those parts is chained."""
    results: list[Any] = []
    found: Sequence[Any] = ()
    for part, (its,) in with_operands(parts, operands):
        by_itself, all_its = part.alone(its, found[0]) if part.chained else (part, its)
        found = of_one(by_itself, *all_its)
        results += found
    return results


def of_all(of_one: Callable[..., Sequence[Any]]) -> Callable[..., list[Any]]:
    """A function of a part and its operands as one of all operands, with `parts`."""
    return lambda *operands, parts: in_turn(parts, operands, of_one)
