"""Peers taking turns: each runs for a moment, many times over, so that all see the same noise."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from ._job import Job
from ._pool import Pool, Worker, WorkerError
from ._report import Failure, Memory, Race, Timing

# A turn is so many seconds long, unless one run takes longer.
_TURN = 0.05
_MOST_RUNS_A_TURN = 50
_MOST_ROUNDS = 40
_FEWEST_ROUNDS = 3
# A run that takes so long needs none before it that does not count.
_WARM = 0.3

# How far a peer's values may be from conveyor's: the norm of the difference over the norm.
# Two orders of the same sums in float32, with room; in bfloat16 each state is rounded.
TOLERANCE = {"float32": 1e-4, "bfloat16": 6e-2}

Values = Mapping[str, np.ndarray]


@dataclass(eq=False)
class _Entrant:
    """A peer with a job that is ready."""

    peer: str
    job: Job
    worker: Worker
    number: int
    seconds: float  # of a run, roughly
    rounds: int = 0
    times: list[float] = field(default_factory=list)

    @property
    def runs_a_turn(self) -> int:
        return max(1, min(_MOST_RUNS_A_TURN, int(_TURN / self.seconds)))

    @property
    def warm_up(self) -> bool:
        return self.seconds < _WARM

    @property
    def seconds_a_turn(self) -> float:
        return (self.runs_a_turn + self.warm_up) * self.seconds + 0.03

    def turn(self) -> None:
        times = self.worker.ask(
            "run", number=self.number, times=self.runs_a_turn, warm_up=self.warm_up
        )
        self.times += times["seconds"]
        self.worker.rest()

    def timing(self) -> Timing:
        low, median, high = np.percentile(self.times, (25, 50, 75)).tolist()
        return Timing(self.peer, self.job, median, (low, high), min(self.times), len(self.times))


def race(
    experiment: str, contestants: Sequence[tuple[str, Job]], pool: Pool, seconds: float
) -> Race:
    """Time (peer, job) pairs against each other for about so many seconds.

    Those that fail, or whose values are not those of the first that computes the same, are
    not timed.
    """
    entrants, failures = _set_up(contestants, pool)
    share = seconds / max(1, len(entrants))
    for entrant in entrants:
        affordable = int(share / entrant.seconds_a_turn)
        entrant.rounds = max(_FEWEST_ROUNDS, min(_MOST_ROUNDS, affordable))
    rounds = max((entrant.rounds for entrant in entrants), default=0)
    for n in range(rounds):
        # Who follows whom changes, so that nobody always comes after the same one.
        order = entrants if n % 2 == 0 else entrants[::-1]
        for entrant in list(order):
            if not takes_part(n, entrant.rounds, rounds):
                continue
            try:
                entrant.turn()
            except WorkerError as error:
                failures.append(Failure(entrant.peer, entrant.job, str(error)))
                entrants.remove(entrant)
    pool.forget({peer for peer, _ in contestants})
    return Race(experiment, tuple(e.timing() for e in entrants), tuple(failures))


def takes_part(n: int, rounds: int, of: int) -> bool:
    """Whether one that plays `rounds` of `of` rounds plays round n; evenly spread.

    >>> [n for n in range(10) if takes_part(n, 3, 10)]
    [0, 4, 7]
    """
    return n * rounds % of < rounds


def _set_up(
    contestants: Sequence[tuple[str, Job]], pool: Pool
) -> tuple[list[_Entrant], list[Failure]]:
    entrants: list[_Entrant] = []
    failures: list[Failure] = []
    references: dict[tuple[object, ...], tuple[str, Values]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for number, (peer, job) in enumerate(contestants):
            save = str(Path(folder, "values.npz"))
            try:
                worker = pool.worker(peer)
                answer = worker.ask("set_up", number=number, job=asdict(job), save=save)
                worker.rest()
            except WorkerError as error:
                failures.append(Failure(peer, job, str(error)))
                continue
            with np.load(save) as values:
                wrong = _disagrees(peer, job, dict(values), references)
            if wrong is None:
                entrants.append(_Entrant(peer, job, worker, number, answer["seconds"]))
            else:
                failures.append(Failure(peer, job, wrong))
    return entrants, failures


def _disagrees(
    peer: str, job: Job, values: Values, references: dict[tuple[object, ...], tuple[str, Values]]
) -> str | None:
    same = (job.size, job.mode, job.mask, job.variant)
    judge, expected = references.setdefault(same, (peer, values))
    for name in sorted(values.keys() & expected.keys()):
        off = distance(values[name], expected[name])
        if not off <= TOLERANCE[job.dtype]:
            return f"{name} is {off:.1e} away from that of {judge}"
    return None


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """The norm of the difference over the norm of b; infinite for another shape."""
    if a.shape != b.shape:
        return float("inf")
    norm = float(np.linalg.norm(b.astype("float64")))
    return float(np.linalg.norm(a.astype("float64") - b)) / norm if norm else float(np.any(a))


def measure_memory(experiment: str, contestants: Sequence[tuple[str, Job]], pool: Pool) -> Race:
    """The memory of each (peer, job) in a process that did nothing before."""
    memory: list[Memory] = []
    failures: list[Failure] = []
    for peer, job in contestants:
        try:
            answer = pool.renew(peer).ask("memory", job=asdict(job))
            memory.append(Memory(peer, job, answer["bytes"]))
        except WorkerError as error:
            failures.append(Failure(peer, job, str(error)))
    return Race(experiment, (), tuple(failures), tuple(memory))
