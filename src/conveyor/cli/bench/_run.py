"""The whole benchmark: start the peers, measure the machine, run the experiments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from ... import __version__
from ..._engines import _library
from . import _limits, _machine
from ._experiments import EXPERIMENTS, SIZES, Contestants, Plan
from ._job import MODES, DType, Mode
from ._peers import PEERS, Peer
from ._pool import Pool, on_cores
from ._race import measure_memory, race
from ._report import Race, Report

Size = tuple[int, int, int, int]


@dataclass(frozen=True)
class Settings:
    """What the user asked for."""

    what: tuple[str, ...]
    threads: int
    engine: str = "native"
    long: bool = False
    seconds: float = 3.0  # for each race
    peers: tuple[str, ...] = ()  # none: those that the experiments call for
    modes: tuple[Mode, ...] = MODES
    dtypes: tuple[DType, ...] = ("float32",)
    sizes: tuple[Size, ...] = SIZES


def run(settings: Settings, say: Callable[[str], None]) -> Report:
    """Measure; `say` hears what is going on."""
    wanted = [peer for peer in PEERS if _takes_part(peer, settings)]
    skipped = {peer.name: why for peer in wanted if (why := peer.missing())}
    names = tuple(peer.name for peer in wanted if peer.name not in skipped)
    with on_cores(settings.threads):
        say("what this machine can do")
        before = _limits.measure(settings.threads)
        say(f"starting {len(names)} processes")
        with Pool(names, threads=settings.threads, engine=settings.engine) as pool:
            skipped |= pool.failed
            plan = Plan(pool.names, settings.modes, settings.dtypes, settings.sizes)
            races = _races(plan, settings, pool, say)
            versions = {"conveyor": __version__, **pool.versions}
        say("what this machine can do, again")
        after = _limits.measure(settings.threads)
    steadiness = _limits.steadiness(before, after)
    return Report(
        _machine.describe(),
        versions,
        {**_as_json(settings), "steadiness": steadiness},
        _limits.best_of(before, after),
        skipped,
        tuple(races),
    )


def _takes_part(peer: Peer, settings: Settings) -> bool:
    if settings.peers:
        return peer.name in settings.peers
    called_for: Sequence[Mode] = [m for m in peer.modes if m in settings.what]  # stream, fit
    return settings.long or not peer.slow or bool(called_for)


def _races(plan: Plan, settings: Settings, pool: Pool, say: Callable[[str], None]) -> list[Race]:
    planned: list[tuple[str, Contestants]] = [
        (name, contestants)
        for name in settings.what
        for contestants in EXPERIMENTS[name](plan)
        if contestants
    ]
    races = []
    for n, (name, contestants) in enumerate(planned, 1):
        job = contestants[0][1]
        say(f"{n} of {len(planned)}: {name}, {job.mode}, {job.size}")
        if name == "memory":
            races.append(measure_memory(name, contestants, pool))
        else:
            races.append(race(name, contestants, pool, settings.seconds))
    return races


def _as_json(settings: Settings) -> dict[str, object]:
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "threads": settings.threads,
        "engine": settings.engine,
        "target": None if _library.missing() else _library.target(),
        "seconds a race": settings.seconds,
        "what": list(settings.what),
    }
