"""All that was measured in one run of the benchmark, to and from JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from ..._errors import ConveyorError
from ._job import Job, job_from_json

SCHEMA = 1


@dataclass(frozen=True)
class Timing:
    """Of one peer at one job: seconds over all its timed runs."""

    peer: str
    job: Job
    median: float
    quartiles: tuple[float, float]
    best: float
    runs: int

    @property
    def spread(self) -> float:
        """The interquartile range as a part of the median."""
        return (self.quartiles[1] - self.quartiles[0]) / self.median


@dataclass(frozen=True)
class Failure:
    """A peer that could not do a job, or computed something else, and was not timed."""

    peer: str
    job: Job
    why: str


@dataclass(frozen=True)
class Memory:
    """The bytes that a job took at its peak."""

    peer: str
    job: Job
    bytes: int


@dataclass(frozen=True)
class Race:
    """What was timed in turns, and is therefore compared."""

    experiment: str
    timings: tuple[Timing, ...] = ()
    failures: tuple[Failure, ...] = ()
    memory: tuple[Memory, ...] = ()


@dataclass(frozen=True)
class Rate:
    """Bytes read per second, each thread over so many bytes of its own."""

    level: str
    bytes_a_thread: int
    bytes_a_second: float


@dataclass(frozen=True)
class Limits:
    """What this machine did at best, with all the threads of the run.

    flops: operations per second by dtype, of multiply-adds in registers.
    products: the same, of torch's own product of large square matrices.
    reads: from the fastest memory to the slowest.
    """

    flops: dict[str, float] = field(default_factory=dict)
    products: dict[str, float] = field(default_factory=dict)
    reads: tuple[Rate, ...] = ()


@dataclass(frozen=True)
class Report:
    """One run."""

    machine: dict[str, str]
    versions: dict[str, str]
    settings: dict[str, Any]
    limits: Limits
    skipped: dict[str, str]  # peers that did not take part, and why
    races: tuple[Race, ...]

    def of(self, *experiments: str) -> list[Race]:
        """The races of these experiments."""
        return [race for race in self.races if race.experiment in experiments]


def to_json(report: Report) -> str:
    """The report as text."""
    return json.dumps({"schema": SCHEMA, **asdict(report)}, indent=1) + "\n"


def from_json(text: str) -> Report:
    """The report that `to_json` wrote.

    Raises:
        ConveyorError: another schema.
    """
    r = json.loads(text)
    if not isinstance(r, dict) or r.pop("schema", None) != SCHEMA:
        raise ConveyorError(
            f"this is no report of schema {SCHEMA}; write one with: conveyor bench --json FILE"
        )
    limits = r["limits"]
    limits["reads"] = tuple(Rate(**rate) for rate in limits["reads"])
    return Report(**{**r, "limits": Limits(**limits), "races": tuple(map(_race, r["races"]))})


def _race(r: dict[str, Any]) -> Race:
    def all_of(name: str) -> list[dict[str, Any]]:
        return [{**row, "job": job_from_json(row["job"])} for row in r[name]]

    timings = [{**row, "quartiles": tuple(row["quartiles"])} for row in all_of("timings")]
    return Race(
        r["experiment"],
        tuple(Timing(**row) for row in timings),
        tuple(Failure(**row) for row in all_of("failures")),
        tuple(Memory(**row) for row in all_of("memory")),
    )
