"""The machine's limits: measured in a process of their own, and what they allow a job."""

from __future__ import annotations

import json
import subprocess
import sys

from ._job import Job
from ._pool import WorkerError, environment
from ._report import Limits, Rate

_BYTES = {"float32": 4, "bfloat16": 2}


def measure(threads: int) -> Limits:
    """The limits with so many threads; takes a few seconds."""
    done = subprocess.run(
        [sys.executable, "-m", "conveyor.cli.bench.worker.limits", str(threads)],
        env=environment(threads, "numpy"),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise WorkerError(f"the machine's limits: {done.stderr.strip().splitlines()[-1]}")
    answer = json.loads(done.stdout.splitlines()[-1])
    reads = tuple(Rate(**rate) for rate in answer.pop("reads", ()))
    return Limits(**answer, reads=reads)


def best_of(a: Limits, b: Limits) -> Limits:
    """The higher of each rate: what disturbs only lowers them."""
    reads = tuple(
        max(pair, key=lambda r: r.bytes_a_second) for pair in zip(a.reads, b.reads, strict=True)
    )
    return Limits(_higher(a.flops, b.flops), _higher(a.products, b.products), reads)


def _higher(a: dict[str, float], b: dict[str, float]) -> dict[str, float]:
    return {name: max(a[name], b[name]) for name in a}


def steadiness(a: Limits, b: Limits) -> float:
    """The lower over the higher, of the rate that changed most between two measurements."""
    pairs = [(rate, b.flops[name]) for name, rate in a.flops.items()]
    pairs += [(x.bytes_a_second, y.bytes_a_second) for x, y in zip(a.reads, b.reads, strict=True)]
    return min((min(pair) / max(pair) for pair in pairs), default=1.0)


def least_seconds(job: Job, limits: Limits) -> float | None:
    """The matrix products of the job at the peak rate, nothing else; None where unmeasured."""
    peak = _peak(job, limits)
    return None if peak is None else job.flops / peak


def serial_roof(job: Job, limits: Limits, threads: int) -> float | None:
    """The least seconds where a step must wait for the step before it.

    Products over all steps (the inputs' projection, and in training the gradients of the
    inputs and the weights) run at the peak rate. Each step of the recurrence, in training
    there and back, takes its own product at that rate, or reading the recurrent kernel once
    from the fastest cache that holds each thread's part of it, whichever is longer.
    """
    peak = _peak(job, limits)
    if peak is None or not limits.reads:
        return None
    kernel = 4.0 * job.units * job.units * _BYTES[job.dtype]
    read = kernel / _rate(kernel / threads, limits)
    product = 2.0 * job.batch * 4 * job.units * job.units / peak
    there_and_back = 2 if job.mode == "training" else 1
    steps = 1 if job.mode == "stream" else job.time_steps
    recurrences = there_and_back * steps
    others = job.flops / peak - recurrences * product
    return others + recurrences * max(read, product)


def _peak(job: Job, limits: Limits) -> float | None:
    # Without instructions of its own bfloat16 is computed in float32.
    return limits.flops.get(job.dtype) or limits.flops.get("float32")


def _rate(bytes_a_thread: float, limits: Limits) -> float:
    # Half of a cache was read to measure it; all of it is what can be held.
    for rate in limits.reads:
        if bytes_a_thread <= 2 * rate.bytes_a_thread:
            return rate.bytes_a_second
    return limits.reads[-1].bytes_a_second
