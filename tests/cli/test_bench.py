"""The benchmark measures what it says; how fast anything is, is not asked here."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from conveyor.cli import app, bench
from conveyor.cli.bench import _caches, _compare, _limits, _pool, _race
from conveyor.cli.bench._experiments import EXPERIMENTS, Plan
from conveyor.cli.bench._job import Job, arrays, masking
from conveyor.cli.bench._peers import BY_NAME, OF_ANY_CELL, PEERS, keras_beside
from conveyor.cli.bench._report import Failure, Limits, Memory, Race, Rate, Report, Timing
from conveyor.cli.bench._variants import STREAMED, VARIANTS

pytestmark = pytest.mark.any_backend

ROOT = Path(__file__).parents[2]
SMALL = Job(2, 5, 3, 4)
OWN = "conveyor/numpy"


def timing(peer: str, ms: float, job: Job = SMALL) -> Timing:
    return Timing(peer, job, ms / 1e3, (0.9 * ms / 1e3, 1.2 * ms / 1e3), 0.8 * ms / 1e3, 9)


def sizes(*races: tuple[Timing, ...], **more) -> Report:
    return Report(
        machine={"processor": "abacus"},
        versions={"conveyor": "0"},
        settings={
            "threads": 2,
            "engine": "native",
            "target": "scalar",
            "date": "today",
            "steadiness": 1.0,
        },
        limits=more.pop("limits", Limits()),
        skipped=more.pop("skipped", {}),
        races=tuple(Race("sizes", race) for race in races) + more.pop("others", ()),
    )


LARGE = replace(SMALL, units=512)
REPORT = sizes(
    (
        timing("conveyor/jax", 2.0),
        timing("conveyor/torch", 4.0),
        timing("torch", 6.0),
        timing("keras/jax", 8.0),
        timing("conveyor/jax", 1.0, replace(SMALL, dtype="bfloat16")),
        timing("torch", 3.0, replace(SMALL, dtype="bfloat16")),
    ),
    (
        timing("conveyor/jax", 10.0, LARGE),
        timing("torch", 30.0, LARGE),
        timing("keras/jax", 20.0, LARGE),
        timing("conveyor/jax", 4.0, replace(LARGE, dtype="bfloat16")),
    ),
    limits=Limits({"float32": 1e9}, {}, (Rate("L1", 1 << 14, 1e9), Rate("memory", 1 << 24, 1e8))),
    skipped={"openvino": "openvino not installed"},
    others=(
        Race(
            "memory", (), (), (Memory("torch", SMALL, 2 << 20), Memory("jax scan", SMALL, 1 << 20))
        ),
        Race("sizes", (), (Failure("jax scan", SMALL, "broken"),)),
    ),
)


def test_ratios_are_against_the_fastest_peer_of_the_same_race_and_dtype() -> None:
    def ratios(own, dtype, against):
        return _compare.ratios(REPORT, own, "inference", dtype, against)

    assert ratios("conveyor/jax", "float32", _compare.fastest_peer).values == (3.0, 2.0)
    assert ratios("conveyor/jax", "float32", _compare.keras_layer).values == (4.0, 2.0)
    assert ratios("conveyor/jax", "bfloat16", _compare.fastest_peer).values == (3.0,)
    assert ratios("conveyor/jax", "bfloat16", _compare.fastest_float32_peer).values == (6.0, 5.0)
    assert ratios("conveyor/jax", "bfloat16", _compare.own_float32).values == (2.5,)
    assert ratios("conveyor/torch", "float32", _compare.fastest_peer).values == (1.5,)
    assert ratios("conveyor/torch", "float32", _compare.keras_layer) is None
    found = ratios("conveyor/jax", "float32", _compare.fastest_peer)
    assert found.mean == pytest.approx(6**0.5)
    assert found.least == 2.0


def test_geometric_mean() -> None:
    assert _compare.geometric_mean([2, 8, 4]) == pytest.approx(4)


def test_json_gives_the_same_report_back() -> None:
    text = bench.to_json(REPORT)
    assert bench.from_json(text) == REPORT
    fields = json.loads(text)
    assert fields["schema"] == 1
    assert fields["races"][0]["timings"][0]["job"]["units"] == 4
    with pytest.raises(ValueError, match="no report of schema 1"):
        bench.from_json('{"schema": 99}')


def test_tables_show_the_figures() -> None:
    tables = {table.key: table for table in bench.tables(REPORT)}
    row = tables["sizes/inference/float32"].rows[0]
    assert row[:6] == ("2x5x3x4", "2", "4", "6 torch", "3.00x", "1.50x")
    peers = {row[0]: row[1:] for row in tables["all/inference/float32"].rows}
    assert peers["keras/jax"] == ("8 (30 %)", "20 (30 %)")
    assert ("jax scan", "inference", "2x5x3x4", "1", "0.50x") in tables["memory"].rows
    reasons = {row[0]: row[2] for row in tables["failures"].rows}
    assert reasons == {"openvino": "openvino not installed", "jax scan": "broken"}


def test_limits_of_a_job() -> None:
    limits = REPORT.limits
    job = Job(1, 10, 8, 16)
    assert job.flops == 2 * 10 * 4 * 16 * (8 + 16)
    assert replace(job, mode="training").flops == 3 * job.flops
    assert _limits.least_seconds(job, limits) == job.flops / 1e9
    # 4 KiB of recurrent kernel a step take longer than its 2048 operations.
    read, projection = 4 * 16 * 64 / 1e9, 2 * 8 * 64 / 1e9
    assert _limits.serial_roof(job, limits, 1) == pytest.approx(10 * (read + projection))
    wide = replace(job, batch=100)
    assert _limits.serial_roof(wide, limits, 1) == pytest.approx(wide.flops / 1e9)
    assert _limits.serial_roof(job, Limits(), 1) is None
    slower = replace(limits, flops={"float32": 8e8})
    assert _limits.steadiness(limits, slower) == 0.8
    assert _limits.best_of(slower, limits) == limits


def test_arrays_are_the_same_for_all_and_the_masks_are_what_they_say() -> None:
    first, again = arrays(SMALL), arrays(replace(SMALL, dtype="bfloat16"))
    assert all(np.array_equal(first[name], again[name]) for name in first)
    job = Job(9, 100, 3, 4)
    assert masking(job) == {}
    assert masking(replace(job, mask="full"))["mask"].all()
    assert 0.7 < masking(replace(job, mask="holes"))["mask"].mean() < 0.9
    assert set(masking(replace(job, mask="half"))["lengths"]) == {50}
    ragged = masking(replace(job, mask="ragged"))["lengths"]
    assert ragged.mean() == 50
    assert len(set(ragged)) == 9


def test_turns_are_spread_evenly() -> None:
    for rounds in range(1, 11):
        assert sum(_race.takes_part(n, rounds, 10) for n in range(10)) == rounds


def test_experiments_ask_only_what_a_peer_can_do() -> None:
    plan = Plan(tuple(BY_NAME), dtypes=("float32", "bfloat16"))
    for name, experiment in EXPERIMENTS.items():
        races = list(experiment(plan))
        assert races, name
        for contestants in races:
            assert len(contestants) > 1
            assert all(BY_NAME[peer].can(job) for peer, job in contestants)
    assert keras_beside("conveyor/tensorflow") == ("keras/tensorflow", "keras/tensorflow xla")


def test_another_result_is_noticed() -> None:
    values = {"hidden_states": np.ones((2, 3)), "only_here": np.zeros(1)}
    references: dict = {}
    assert _race._disagrees("one", SMALL, values, references) is None
    close = {"hidden_states": values["hidden_states"] + 1e-6}
    assert _race._disagrees("two", SMALL, close, references) is None
    far = {"hidden_states": values["hidden_states"] + 1e-3}
    assert "away from that of one" in _race._disagrees("three", SMALL, far, references)
    half = replace(SMALL, dtype="bfloat16")
    assert _race._disagrees("four", half, far, references) is None
    nan = {"hidden_states": values["hidden_states"] * np.nan}
    assert _race._disagrees("five", SMALL, nan, references) is not None
    other_shape = {"hidden_states": np.ones((3, 2))}
    assert _race._disagrees("six", SMALL, other_shape, references) is not None


def test_a_race_of_processes() -> None:
    others = ("onnxruntime", "torch", "jax scan")
    peer = next(name for name in others if BY_NAME[name].missing() is None)
    with _pool.Pool((OWN, peer), threads=1, engine="portable") as pool:
        assert pool.failed == {}
        assert pool.versions
        result = _race.race("sizes", [(OWN, SMALL), (peer, SMALL)], pool, 0.05)
        with pytest.raises(_pool.WorkerError, match="KeyError"):
            pool.worker(peer).ask("run", number=0, times=1, warm_up=False)
    assert result.failures == ()
    assert [t.peer for t in result.timings] == [OWN, peer]
    for t in result.timings:
        assert 0 < t.best <= t.quartiles[0] <= t.median <= t.quartiles[1]
        assert t.runs >= 3


def test_streams_agree() -> None:
    peers = ("conveyor/numpy", "conveyor/Stream", "conveyor/Stream feed")
    keras_peer = next(p for p in PEERS if p.of_keras and "stream" in p.modes and not p.missing())
    jobs = [replace(SMALL, mode="stream", batch=batch) for batch in (1, 2)]
    entries = [(peer, job) for job in jobs for peer in (*peers, keras_peer.name)]
    with _pool.Pool((*peers, keras_peer.name), threads=1, engine="portable") as pool:
        result = _race.race("stream", entries, pool, 0.05)
    assert result.failures == ()
    report = sizes(others=(Race("stream", result.timings),))
    (table,) = [t for t in bench.tables(report) if t.key == "stream/1/4"]
    assert {row[0] for row in table.rows} == {*peers, keras_peer.name}


def test_streams_of_variants_are_run_beside_the_plain_one() -> None:
    plain = replace(SMALL, mode="stream", batch=2)
    pairs = [
        [(peer, job) for job in (plain, replace(plain, variant=v)) for peer in OF_ANY_CELL]
        for v in STREAMED
    ]
    with _pool.Pool(OF_ANY_CELL, threads=1, engine="portable") as pool:
        races = [_race.race("stream", entries, pool, 0.01) for entries in pairs]
    assert [race.failures for race in races] == [()] * len(pairs)
    (table,) = [t for t in bench.tables(sizes(others=tuple(races))) if t.key.startswith("stream")]
    assert [row[0] for row in table.rows] == list(STREAMED)


def test_variants_are_run_beside_the_plain_lstm() -> None:
    some = VARIANTS[::3]
    jobs = [replace(SMALL, variant=variant) for variant in some]
    with _pool.Pool((OWN,), threads=1, engine="portable") as pool:
        races = [_race.race("variants", [(OWN, SMALL), (OWN, job)], pool, 0.01) for job in jobs]
    assert [race.failures for race in races] == [()] * len(jobs)
    (table,) = [t for t in bench.tables(sizes(others=tuple(races))) if t.key.startswith("variants")]
    assert [row[0] for row in table.rows] == list(some)


def test_where_conveyor_would_fall_back_it_is_not_timed(monkeypatch) -> None:
    monkeypatch.setenv("CONVEYOR_TARGET", "abacus")
    with _pool.Pool((OWN,), threads=1, engine="native") as pool:
        result = _race.race("sizes", [(OWN, SMALL)], pool, 0.0)
        pool.worker(OWN).close()
        after = _race.race("memory", [(OWN, SMALL)], pool, 0.0)  # in a new process
    assert result.timings == ()
    assert "CONVEYOR_TARGET=abacus" in result.failures[0].why
    assert "CONVEYOR_TARGET=abacus" in after.failures[0].why


def test_cores_are_given_back() -> None:
    if not hasattr(os, "sched_getaffinity"):
        pytest.skip("this system binds no process to cores")
    before = os.sched_getaffinity(0)
    with _pool.on_cores(1):
        assert _pool.usable_cores() == 1
        assert _caches.working_sets(1)["memory"] > max(_caches.sizes().values())
    assert os.sched_getaffinity(0) == before


def test_probes(monkeypatch) -> None:
    from conveyor._engines import _library
    from conveyor.cli.bench.worker import limits

    if _library.missing():
        pytest.skip(_library.missing())
    monkeypatch.setattr(limits, "_SECONDS", 1e-3)
    monkeypatch.setattr(limits, "_TRIES", 1)
    monkeypatch.setattr(_caches, "working_sets", lambda threads: {"L1": 1 << 14, "odd": 1000})
    assert limits._flops(1)["float32"] > 1e7
    assert "float64" not in limits._flops(1)
    assert all(read["bytes_a_second"] > 1e7 for read in limits._reads(2))


runner = CliRunner()


def run(*arguments: str):
    return runner.invoke(app, ["bench", *arguments], env={"COLUMNS": "200", "NO_COLOR": "1"})


def test_command_shows_an_earlier_report(tmp_path) -> None:
    (tmp_path / "report.json").write_text(bench.to_json(REPORT))
    written = tmp_path / "tables.md"
    result = run("--from", str(tmp_path / "report.json"), "--markdown", str(written))
    assert result.exit_code == 0, result.output
    assert re.search(
        r"conveyor/jax .*inference .*float32 .*fastest peer .*2\.45x .*2\.00x", result.output
    )
    assert "| 2x5x3x4 | 2 | 4 | 6 torch | 3.00x | 1.50x |" in written.read_text()


def test_command_draws(tmp_path) -> None:
    pytest.importorskip("matplotlib", reason="draws the picture")
    (tmp_path / "report.json").write_text(bench.to_json(REPORT))
    result = run("--from", str(tmp_path / "report.json"), "--plot", str(tmp_path / "p.svg"))
    assert result.exit_code == 0, result.output
    drawn = (tmp_path / "p.svg").read_text()
    assert drawn.startswith("<?xml")
    assert "2x5x3x4" in drawn


def test_command_fails_where_conveyor_did_and_says_when_the_machine_was_busy(tmp_path) -> None:
    failed = Race("sizes", (), (Failure("conveyor/jax", SMALL, "no such thing"),))
    settings = {**REPORT.settings, "steadiness": 0.5}
    report = replace(REPORT, races=(failed,), settings=settings)
    (tmp_path / "report.json").write_text(bench.to_json(report))
    result = run("--from", str(tmp_path / "report.json"))
    assert result.exit_code == 1
    assert "no such thing" in result.output
    assert "busy with something else" in result.output


@pytest.mark.parametrize(
    "arguments",
    [("--what", "nothing"), ("--peer", "abacus"), ("--size", "32x100"), ("--threads", "9999")],
)
def test_command_refuses(arguments) -> None:
    assert run(*arguments).exit_code == 2


def long_form():
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location("benchmarks_run", ROOT / "benchmarks" / "run.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.any_backend
@pytest.mark.parametrize("options", [["--help"], ["--what", "nothing"], ["--size", "32x100"]])
def test_what_measures_nothing_leaves_the_results(options, tmp_path, monkeypatch) -> None:
    module, results = long_form(), tmp_path / "results.json"
    monkeypatch.setattr(module, "RESULTS", results)
    monkeypatch.setattr(module, "PAGE", tmp_path / "page.md")
    results.write_text(bench.to_json(REPORT), encoding="utf-8")
    assert module.main(options) == (0 if options == ["--help"] else 2)
    assert results.read_text(encoding="utf-8") == bench.to_json(REPORT)
    assert not module.PAGE.exists()


def test_page_is_filled() -> None:
    module = long_form()
    page = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    filled = module.fill(page, REPORT)
    assert "| 2x5x3x4 | 2 | 4 | 6 torch |" in filled
    assert "abacus" in filled
    assert module.fill(filled, REPORT) == filled
    places = set(re.findall(r"<!-- measured: (\S+) -->", page))
    kinds = {"about", "picture", "summary", "limits", *EXPERIMENTS}
    assert places == kinds


def test_every_peer_has_a_worker() -> None:
    folder = Path(bench.__file__).parent / "worker"
    assert all((folder / f"{peer.module}.py").exists() for peer in PEERS)
