"""Which peers run which jobs against each other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from ..._vocabulary import STATE_NAMES
from ._job import MODES, DType, Job, Mask, Mode
from ._peers import BY_NAME, OF_ANY_CELL
from ._variants import STREAMED, VARIANTS

Contestants = tuple[tuple[str, Job], ...]

SIZES = (
    (1, 100, 64, 64),
    (32, 100, 64, 128),
    (256, 100, 32, 64),
    (64, 50, 256, 256),
    (64, 100, 128, 512),
    (1, 100, 512, 512),
    (32, 50, 1024, 1024),
    (8, 512, 128, 256),
)
# Of these, one small and one large, for questions about conveyor alone.
_TWO = ((32, 100, 64, 128), (64, 50, 256, 256))
_MASKS: tuple[Mask, ...] = ("none", "full", "holes", "half", "ragged")


@dataclass(frozen=True)
class Plan:
    """What is asked for: who takes part, in which dtypes, and at which sizes."""

    peers: tuple[str, ...]
    modes: tuple[Mode, ...] = MODES
    dtypes: tuple[DType, ...] = ("float32",)
    sizes: tuple[tuple[int, int, int, int], ...] = SIZES

    def own(self) -> tuple[str, ...]:
        """conveyor's among the peers, but NumPy's, which adds nothing to the others."""
        return tuple(p for p in self.peers if BY_NAME[p].own and BY_NAME[p].backend != "numpy")

    def all_at(self, *jobs: Job, peers: Iterable[str] | None = None) -> Contestants:
        """Every peer at every of the jobs that it can do."""
        names = self.peers if peers is None else peers
        return tuple((p, job) for job in jobs for p in names if BY_NAME[p].can(job))


def _sizes(plan: Plan) -> Iterator[Contestants]:
    for mode in plan.modes:
        for size in plan.sizes:
            yield plan.all_at(*(Job(*size, mode=mode, dtype=d) for d in plan.dtypes))


def _outputs(plan: Plan) -> Iterator[Contestants]:
    for mode in plan.modes:
        for size in _TWO:
            job = Job(*size, mode=mode)
            yield plan.all_at(job, replace(job, outputs=STATE_NAMES), peers=plan.own())


def _masks(plan: Plan) -> Iterator[Contestants]:
    for mode in plan.modes:
        for size in _TWO:
            job = Job(*size, mode=mode)
            jobs = (replace(job, mask=mask) for mask in _MASKS)
            yield plan.all_at(*jobs, peers=plan.own())


def _odd(plan: Plan) -> Iterator[Contestants]:
    """Sizes that are a multiple of nothing, beside the next multiple of 16."""
    base = Job(32, 100, 64, 128)
    odd = [replace(base, units=n) for n in (50, 100, 300)]
    odd += [replace(base, features=n) for n in (1, 3, 7)]
    for mode in plan.modes:
        for job in odd:
            even = replace(job, units=_next_16(job.units), features=_next_16(job.features))
            jobs = (replace(j, mode=mode) for j in (job, even))
            yield plan.all_at(*jobs, peers=plan.own())


def _next_16(n: int) -> int:
    return -(-n // 16) * 16


def _stream(plan: Plan) -> Iterator[Contestants]:
    for batch in (1, 32):
        for units in (64, 512):
            yield plan.all_at(Job(batch, 200, units, units, mode="stream"))
    # What another cell costs, beside the plain one.
    streams = tuple(name for name in plan.peers if name in OF_ANY_CELL)
    for batch in (1, 8):
        for units in (64, 256):
            plain = Job(batch, 200, units, units, mode="stream")
            for variant in STREAMED if streams else ():
                yield plan.all_at(plain, replace(plain, variant=variant), peers=streams)


def _scaling(plan: Plan) -> Iterator[Contestants]:
    base = Job(32, 100, 64, 128)
    longer = [replace(base, time_steps=t) for t in (25, 50, 100, 200, 400)]
    wider = [replace(base, batch=b) for b in (8, 16, 32, 64, 128)]
    for mode in plan.modes:
        for jobs in (longer, wider):
            yield plan.all_at(*(replace(job, mode=mode) for job in jobs), peers=plan.own()[:1])


def _fit(plan: Plan) -> Iterator[Contestants]:
    job = Job(32, 100, 128, 128, mode="fit")
    for own in plan.own():
        backend = BY_NAME[own].backend
        beside = (p for p in plan.peers if BY_NAME[p].backend == backend)
        yield plan.all_at(job, peers=beside)


def _variants(plan: Plan) -> Iterator[Contestants]:
    """Each beside the plain LSTM, and beside whoever else has it."""
    own = tuple(name for name in plan.own() if BY_NAME[name].backend != "tensorflow")
    others = tuple(name for name in plan.peers if not BY_NAME[name].own)
    for mode in plan.modes:
        for size in _TWO:
            plain = Job(*size, mode=mode)
            for variant in VARIANTS:
                if mode == "training" and variant.endswith("inference"):
                    continue
                if mode == "inference" and variant.endswith(("training", "dropout")):
                    continue
                job = replace(plain, variant=variant)
                ours = plan.all_at(plain, job, peers=own)
                yield ours + plan.all_at(job, peers=others)


def _memory(plan: Plan) -> Iterator[Contestants]:
    for mode in plan.modes:
        for size in ((64, 100, 128, 512), (256, 100, 32, 64)):
            others = (p for p in plan.peers if not BY_NAME[p].own and not BY_NAME[p].of_keras)
            yield plan.all_at(Job(*size, mode=mode), peers=(*plan.own(), *others))


EXPERIMENTS: dict[str, Callable[[Plan], Iterator[Contestants]]] = {
    "sizes": _sizes,
    "outputs": _outputs,
    "masks": _masks,
    "odd": _odd,
    "stream": _stream,
    "scaling": _scaling,
    "fit": _fit,
    "variants": _variants,
    "memory": _memory,
}
