"""The tables of the questions beside speed at the eight sizes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from ._compare import fastest
from ._job import Job
from ._peers import BY_NAME, OF_ANY_CELL
from ._report import Race, Report, Timing
from ._tables import NOTHING, Table, milliseconds, times


def outputs(report: Report) -> Iterator[Table]:
    """All eight states instead of one."""
    rows = []
    for race in report.of("outputs"):
        for peer, (one, *others) in _by_peer(race):
            for all_eight in others:
                ratio = all_eight.median / one.median
                rows.append((*_where(peer, one), *_pair(one, all_eight), times(ratio)))
    if rows:
        columns = ("", "mode", "size", "hidden_states, ms", "all eight, ms", "time")
        yield Table(
            "outputs", "All eight states instead of hidden states only", columns, tuple(rows)
        )


def masks(report: Report) -> Iterator[Table]:
    """Each kind of mask against none."""
    kinds = ("full", "holes", "half", "ragged")
    rows = []
    for race in report.of("masks"):
        for peer, timings in _by_peer(race):
            by_mask = {t.job.mask: t.median for t in timings}
            if "none" not in by_mask:
                continue
            none = by_mask["none"]
            ratios = (times(by_mask[k] / none if k in by_mask else None) for k in kinds)
            rows.append((*_where(peer, timings[0]), milliseconds(none), *ratios))
    if rows:
        yield Table(
            "masks",
            "Time with a mask, of the time without",
            ("", "mode", "size", "none, ms", *kinds),
            tuple(rows),
            "full: masks nothing. holes: a fifth of the steps, anywhere. half: the second half of "
            "each sequence. ragged: lengths from 0 to T, half of T on average.",
        )


def odd(report: Report) -> Iterator[Table]:
    """Sizes that are a multiple of nothing."""
    rows = []
    for race in report.of("odd"):
        for peer, (odd, *evens) in _by_peer(race):
            for even in evens:
                ratio = odd.median / even.median
                rows.append((*_where(peer, odd), even.job.size, *_pair(odd, even), times(ratio)))
    if rows:
        columns = ("", "mode", "size", "next multiple of 16", "ms", "ms", "time")
        yield Table("odd", "Sizes that are no multiple of 16", columns, tuple(rows))


def stream(report: Report) -> Iterator[Table]:
    """One step a call."""
    for race in report.of("stream"):
        if not race.timings or any(t.job.variant for t in race.timings):
            continue
        own = next((t for t in race.timings if BY_NAME[t.peer].own), None)  # in the order of PEERS
        job = race.timings[0].job
        rows = tuple(
            (
                t.peer,
                f"{1e6 * t.median:.1f}",
                f"{job.batch / t.median:,.0f}",
                times(t.median / own.median if own else None),
            )
            for t in sorted(race.timings, key=lambda t: t.median)
        )
        sessions = "one session" if job.batch == 1 else f"{job.batch} sessions together"
        yield Table(
            f"stream/{job.batch}/{job.units}",
            f"One step at a time: {sessions}, {job.units} units",
            ("", "a step, microseconds", "steps of a session a second", "time, of LSTMStream's"),
            rows,
            "conveyor/numpy is ops.LSTMStream; keras/... are stateful=True.",
        )


def streamed_variants(report: Report) -> Iterator[Table]:
    """One step a call of another cell, beside that of the plain LSTM."""
    races = [r for r in report.of("stream") if any(t.job.variant for t in r.timings)]
    rows = []
    for race in races:
        job = _job_of(race)
        cells: list[str] = []
        for peer in OF_ANY_CELL:
            of = {t.job.variant: t.median for t in race.timings if t.peer == peer}
            plain, its = (of.get(v) for v in ("", job.variant))
            cells += [
                NOTHING if its is None else f"{1e6 * its:.1f}",
                times(its / plain if its and plain else None),
            ]
        rows.append((job.variant, str(job.batch), str(job.units), *cells))
    if rows:
        yield Table(
            "stream/variants",
            "One step at a time, beyond the plain LSTM",
            (
                "",
                "sessions",
                "units",
                *(
                    c
                    for name in OF_ANY_CELL
                    for c in (f"{name}, microseconds", "of the plain LSTM")
                ),
            ),
            tuple(rows),
        )


def scaling(report: Report) -> Iterator[Table]:
    """Against the number of steps and of sequences."""
    rows = []
    for race in report.of("scaling"):
        for peer, timings in _by_peer(race):
            many = {t.job.time_steps for t in timings}
            axis = "T" if len(many) > 1 else "B"
            last = timings[-1]
            for t in timings:
                a_step = _a_step(t)
                rows.append(
                    (
                        *_where(peer, t),
                        axis,
                        milliseconds(t.median),
                        f"{1e6 * a_step:.2f}",
                        times(a_step / _a_step(last)),
                    )
                )
    if rows:
        yield Table(
            "scaling",
            "Cost against T and against B",
            (
                "",
                "mode",
                "size",
                "varies",
                "ms",
                "microseconds a step of a sequence",
                "of the largest",
            ),
            tuple(rows),
        )


def _a_step(timing: Timing) -> float:
    return timing.median / (timing.job.batch * timing.job.time_steps)


def fit(report: Report) -> Iterator[Table]:
    """`model.fit` beside Keras's own layer."""
    rows = []
    for race in report.of("fit"):
        for own in (t for t in race.timings if BY_NAME[t.peer].own):
            keras = fastest(t for t in race.timings if BY_NAME[t.peer].of_keras)
            rows.append(
                (
                    BY_NAME[own.peer].backend,
                    milliseconds(own.median),
                    milliseconds(keras.median if keras else None),
                    times(keras.median / own.median if keras else None),
                )
            )
    if rows:
        yield Table(
            "fit",
            "model.fit of Embedding, 2 x LSTM(128), Dense; batch 32, 100 steps",
            ("backend", "conveyor.LSTM, ms a batch", "keras.layers.LSTM, ms a batch", "ratio"),
            tuple(rows),
        )


def variants(report: Report) -> Iterator[Table]:
    """Beyond the plain LSTM, against the plain one and against others that have it."""
    races = [r for r in report.of("variants") if any(t.job.variant for t in r.timings)]
    for mode, size in dict.fromkeys((_job_of(r).mode, _job_of(r).size) for r in races):
        chosen = [r for r in races if (_job_of(r).mode, _job_of(r).size) == (mode, size)]
        own = [p for p in BY_NAME if any(p == t.peer and BY_NAME[p].own for t in chosen[0].timings)]
        rows = []
        for race in chosen:
            cells: list[str] = []
            for peer in own:
                times_of = {t.job.variant: t.median for t in race.timings if t.peer == peer}
                plain, its = (times_of.get(v) for v in ("", _job_of(race).variant))
                cells += [
                    milliseconds(its),
                    times(its / plain if its and plain else None),
                ]
            others = [t for t in race.timings if not BY_NAME[t.peer].own]
            said = ", ".join(f"{milliseconds(t.median)} {t.peer}" for t in others)
            best = min(
                (t.median for t in race.timings if BY_NAME[t.peer].own and t.job.variant),
                default=None,
            )
            ratio = times(others[0].median / best if others and best else None)
            rows.append((_job_of(race).variant, *cells, said or NOTHING, ratio))
        columns = (
            "",
            *(c for name in own for c in (f"{name}, ms", "of the plain LSTM")),
            "others, ms",
            "times conveyor's",
        )
        yield Table(f"variants/{mode}/{size}", f"{mode.capitalize()}, {size}", columns, tuple(rows))


def _job_of(race: Race) -> Job:
    """That of the variant."""
    return next(t.job for t in race.timings if t.job.variant)


def memory(report: Report) -> Iterator[Table]:
    """Bytes at the peak."""
    rows = []
    for race in report.of("memory"):
        theirs = {m.peer: m.bytes for m in race.memory}
        for m in race.memory:
            torch = theirs.get("torch")
            rows.append(
                (
                    m.peer,
                    m.job.mode,
                    m.job.size,
                    f"{m.bytes / (1 << 20):.0f}",
                    times(m.bytes / torch) if torch else NOTHING,
                )
            )
    if rows:
        columns = ("", "mode", "size", "MiB", "of torch.nn.LSTM's")
        yield Table("memory", "Memory at the peak of a run, inputs included", columns, tuple(rows))


def _by_peer(race: Race) -> list[tuple[str, list[Timing]]]:
    ordered = sorted(race.timings, key=lambda t: list(BY_NAME).index(t.peer))  # stable
    return [(peer, list(timings)) for peer, timings in groupby(ordered, lambda t: t.peer)]


def _where(peer: str, timing: Timing) -> tuple[str, str, str]:
    return peer, timing.job.mode, timing.job.size


def _pair(a: Timing, b: Timing) -> tuple[str, str]:
    return milliseconds(a.median), milliseconds(b.median)
