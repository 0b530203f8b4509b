"""What follows from the times: who is ahead, by how much, and how near to the limit."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ._job import DType, Mode
from ._peers import BY_NAME, keras_beside
from ._report import Race, Report, Timing

# The timing to set one of conveyor's against, in the same race, or None.
Against = Callable[[Race, Timing], Timing | None]


@dataclass(frozen=True)
class Ratios:
    """How many times as fast, over several races."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """The geometric mean."""
        return geometric_mean(self.values)

    @property
    def least(self) -> float:
        """Of the race where it is least ahead."""
        return min(self.values)


def geometric_mean(values: Sequence[float]) -> float:
    """The n-th root of the product.

    >>> geometric_mean([1, 4])
    2.0
    """
    return math.exp(math.fsum(map(math.log, values)) / len(values))


def fastest(timings: Iterable[Timing]) -> Timing | None:
    """That of the least median."""
    return min(timings, key=lambda timing: timing.median, default=None)


def own_timings(race: Race, mode: Mode, dtype: DType) -> list[Timing]:
    """conveyor's at these jobs, in the order of the peers."""
    return [t for t in race.timings if BY_NAME[t.peer].own and _is(t, mode, dtype)]


def peer_timings(race: Race, mode: Mode, dtype: DType) -> list[Timing]:
    """The others'."""
    return [t for t in race.timings if not BY_NAME[t.peer].own and _is(t, mode, dtype)]


def _is(timing: Timing, mode: Mode, dtype: DType) -> bool:
    return timing.job.mode == mode and timing.job.dtype == dtype


def fastest_peer(race: Race, own: Timing) -> Timing | None:
    """In the same dtype."""
    return fastest(peer_timings(race, own.job.mode, own.job.dtype))


def fastest_float32_peer(race: Race, own: Timing) -> Timing | None:
    """Whatever the dtype of conveyor's."""
    return fastest(peer_timings(race, own.job.mode, "float32"))


def own_float32(race: Race, own: Timing) -> Timing | None:
    """conveyor itself in float32, at units >= 256, where the products dominate."""
    if own.job.units < 256:
        return None
    return fastest(t for t in own_timings(race, own.job.mode, "float32") if t.peer == own.peer)


def keras_layer(race: Race, own: Timing) -> Timing | None:
    """Keras's own layer on the same backend; the faster, where there are two ways."""
    beside = keras_beside(own.peer)
    peers = peer_timings(race, own.job.mode, own.job.dtype)
    return fastest(t for t in peers if t.peer in beside)


def ratios(report: Report, own: str, mode: Mode, dtype: DType, against: Against) -> Ratios | None:
    """Of one of conveyor's peers at all sizes; None where there is nothing to compare."""
    values = []
    for race in report.of("sizes"):
        for timing in own_timings(race, mode, dtype):
            other = against(race, timing) if timing.peer == own else None
            if other is not None:
                values.append(other.median / timing.median)
    return Ratios(tuple(values)) if values else None
