"""Dev pairs, taken from the pairs to learn from."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterable, Iterator
from typing import Final

from ._pairs import Pair

_MOST: Final = 1_000
_ONE_IN: Final = 50


def key_of(pair: Pair) -> int:
    """A number of 64 bits that follows from the two texts alone.

    >>> key_of(Pair("a", "b")) == key_of(Pair("a", "b", ("tag",))) != key_of(Pair("b", "a"))
    True
    """
    texts = f"{pair.source}\t{pair.target}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(texts, digest_size=8).digest())


def held_out(pairs: Iterable[Pair]) -> list[Pair]:
    """One pair in fifty, at most a thousand: those with the smallest keys, each once.

    So the same pairs give the same dev pairs in whatever order they come, and a pair that is
    there twice cannot be on both sides.

    >>> len(held_out([Pair(str(n), str(n)) for n in range(1_000)]))
    20
    """
    count = 0
    smallest: list[tuple[int, Pair]] = []  # as a heap of negative keys: the largest is at the top
    kept: set[int] = set()
    for pair in pairs:
        count += 1
        key = key_of(pair)
        if key in kept or (len(smallest) == _MOST and -key < smallest[0][0]):
            continue
        kept.add(key)
        heapq.heappush(smallest, (-key, pair))
        if len(smallest) > _MOST:
            kept.remove(-heapq.heappop(smallest)[0])
    ordered = sorted(smallest, key=lambda entry: -entry[0])
    return [pair for _, pair in ordered[: min(_MOST, count // _ONE_IN)]]


def without(pairs: Iterable[Pair], dev: Iterable[Pair]) -> Iterator[Pair]:
    """Those pairs that are not among the others."""
    keys = {key_of(pair) for pair in dev}
    return (pair for pair in pairs if key_of(pair) not in keys)
