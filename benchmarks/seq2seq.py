"""conveyor's translator beside a tuned one of plain PyTorch, English to French.

    python benchmarks/seq2seq.py speed                 training, target tokens a second
    python benchmarks/seq2seq.py decoding              the test sentences, greedy and by beams
    python benchmarks/seq2seq.py quality               test BLEU after 10, 20 and 40 minutes
    python benchmarks/seq2seq.py page                  measures nothing

Each fills its place in docs/performance.md. Leave the machine alone meanwhile. Options:

    --threads 2  --turns 8  --only conveyor/torch,pytorch  --dtypes float32  --sentences 1000
    --model DIR  decoding: with this one, not with the one that quality trained longest
    --cpu        count the time of the processes, on one thread: for a machine that is busy
    --minutes 10,20,40  --peer    quality: these budgets; the PyTorch translator, too
    --no-save    show, and leave results and page as they are
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from rich.console import Console
from translators import _quality, _tables
from translators._contestants import BACKENDS, DTYPES, PEERS, PLAIN, Contestant
from translators._data import ROOT, Files, prepare
from translators._race import Race

from conveyor.cli.bench._pool import on_cores, usable_cores

RESULTS = ROOT / "benchmarks" / "seq2seq.json"
PAGE = ROOT / "docs" / "performance.md"
PICTURE = ROOT / "docs" / "images" / "translator.png"


def contestants(options: argparse.Namespace, *, plain: bool) -> list[Contestant]:
    names = [f"conveyor/{backend}" for backend in BACKENDS] + list(PEERS) + [PLAIN] * plain
    names = [name for name in names if not options.only or name in options.only.split(",")]
    return [Contestant(name, dtype) for dtype in options.dtypes.split(",") for name in names]


def speed(options: argparse.Namespace, files: Files) -> list[dict[str, Any]]:
    """Training."""
    with Race(contestants(options, plain=True), options.threads, files, cpu=options.cpu) as race:
        race.train(options.turns)
        return [entry.to_json() for entry in race.entries]


def decoding(options: argparse.Namespace, files: Files) -> dict[str, list[dict[str, Any]]]:
    """The test sentences, everybody with the weights of one model."""
    model = Path(options.model) if options.model else _quality.longest_training(files)
    weights = _quality.weights_of(model, files)
    who = contestants(options, plain=False)
    paths = {c: str(model / "model.keras" if c.backend_of_conveyor else weights) for c in who}
    found = {}
    for beam in (1, 5):
        with Race(who, options.threads, files, cpu=options.cpu) as race:
            race.load(paths)
            race.translate(options.turns, options.sentences, beam)
            found[str(beam)] = [entry.to_json() for entry in race.entries]
    return found


def quality(options: argparse.Namespace, files: Files) -> list[dict[str, Any]]:
    """Trainings for so many minutes."""
    minutes = [float(text) for text in options.minutes.split(",")]
    return _quality.run(files, minutes, peer=options.peer, threads=options.threads)


MEASURES = {"speed": speed, "decoding": decoding, "quality": quality}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("what", choices=[*MEASURES, "page"])
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--turns", type=int, default=8)
    parser.add_argument("--sentences", type=int, default=1000)
    parser.add_argument("--only", default="")
    parser.add_argument("--dtypes", default=",".join(DTYPES))
    parser.add_argument("--model", default="")
    parser.add_argument("--minutes", default="10,20,40")
    for flag in ("--cpu", "--peer", "--no-save"):
        parser.add_argument(flag, action="store_true")
    options = parser.parse_args()
    options.threads = 1 if options.cpu else options.threads
    results: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    if options.what != "page":
        with on_cores(options.threads):
            measured = MEASURES[options.what](options, prepare())
        console = Console()
        for table in _tables.TABLES[options.what](measured):
            console.print(table.to_rich())
        if options.what == "quality":
            measured = _quality.merged(results.get("quality", []), measured)
        results[options.what] = measured
    if options.no_save:
        return
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    if results.get("quality"):
        _quality.plot(results["quality"], PICTURE)
    PAGE.write_text(_tables.fill(Path(PAGE).read_text(encoding="utf-8"), results), encoding="utf-8")


if __name__ == "__main__":
    main()
