"""Trainings of so many minutes, and what the translators are worth then."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from conveyor.cli.bench._pool import environment

from ._contestants import Contestant, Process
from ._data import Files, columns, vocabulary_of

AIMS = {10: 16.0, 20: 23.0, 40: 27.0}  # test BLEU that was aimed at
_BACKEND = "torch"


def longest_training(files: Files) -> Path:
    """The directory of the conveyor model that was trained longest."""
    found = [path for path in files.folder.glob("conveyor-*") if (path / "model.keras").exists()]
    if not found:
        raise SystemExit("there is no model to translate with: run `seq2seq.py quality` first")
    return max(found, key=lambda path: float(path.name.partition("-")[2]))


def weights_of(model: Path, files: Files) -> Path:
    """The weights of a conveyor model by their paths, for the PyTorch translator."""
    import keras

    import conveyor.seq2seq  # noqa: F401  # so that Keras knows its classes

    path = files.folder / "weights.npz"
    loaded = keras.saving.load_model(model / "model.keras", compile=False)
    np.savez(path, **{w.path.partition("/")[2]: np.array(w) for w in loaded.weights})
    return path


def run(files: Files, minutes: list[float], *, peer: bool, threads: int) -> list[dict[str, Any]]:
    """Train for each of these budgets, and translate the test sentences."""
    runs = [_conveyor(files, budget, threads) for budget in minutes]
    return runs + [_peer(files, budget, threads) for budget in minutes if peer]


def _conveyor(files: Files, minutes: float, threads: int) -> dict[str, Any]:
    model = files.folder / f"conveyor-{minutes:g}"
    _command(
        *("train", str(files.train), "--dev", str(files.dev), "--out", str(model)),
        *("--max-minutes", f"{minutes:g}"),
        threads=threads,
    )
    found: dict[str, Any] = {"name": "conveyor", "minutes": minutes, "aim": AIMS.get(int(minutes))}
    for search, beam in (("beam", 5), ("greedy", 1)):
        sources, references = columns(files.test)
        translated = _command(
            *("translate", str(model), "--beam", str(beam)),
            threads=threads,
            text="".join(f"{source}\n" for source in sources),
        )
        found[search], found["signature"] = bleu(translated.splitlines(), references)
    log = (model / "log.jsonl").read_text(encoding="utf-8").splitlines()
    found["curve"] = curve_of([json.loads(line) for line in log])
    return found


def curve_of(log: list[dict[str, Any]]) -> list[tuple[float, float]]:
    """Minutes of training and dev BLEU, of each evaluation in a log."""
    evaluations = [line for line in log if line["event"] == "evaluation" and line["dev"]]
    return [(line["seconds"] / 60, line["dev"]["bleu"]) for line in evaluations]


def _command(*arguments: str, threads: int, text: str | None = None) -> str:
    command = [sys.executable, "-c", "from conveyor.cli import main; main()", *arguments]
    variables = {**os.environ, **environment(threads, _BACKEND)}
    done = subprocess.run(
        command, env=variables, input=text, text=True, stdout=subprocess.PIPE, check=True
    )
    return done.stdout


def _peer(files: Files, minutes: float, threads: int) -> dict[str, Any]:
    path = files.folder / f"pytorch-{minutes:g}.pt"
    process = Process(Contestant("pytorch", "bfloat16"), threads, files.folder)
    process.answer()
    trained = process.ask("learn", minutes=minutes, save=str(path))
    process.ask("load", path=str(path))
    sources, references = columns(files.test)
    vocabulary = vocabulary_of(files)
    found: dict[str, Any] = {"name": "PyTorch", "minutes": minutes, "losses": trained["curve"]}
    for search, beam in (("beam", 5), ("greedy", 1)):
        targets = process.ask("translate", beam=beam, sentences=len(sources))["targets"]
        texts = [vocabulary.decode(ids) for ids in targets]
        found[search], found["signature"] = bleu(texts, references)
    process.close()
    return found


def bleu(texts: list[str], references: list[str]) -> tuple[float, str]:
    """sacrebleu's, and its signature."""
    from sacrebleu.metrics import BLEU

    metric = BLEU()
    return metric.corpus_score(texts, [references]).score, str(metric.get_signature())


def merged(before: list[dict[str, Any]], now: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """All runs, those of today instead of earlier ones of the same budget."""
    found = {(run["name"], run["minutes"]): run for run in [*before, *now]}
    return [found[key] for key in sorted(found)]


def plot(runs: list[dict[str, Any]], picture: Path) -> None:
    """Dev BLEU over the minutes of each training, its test BLEU at the end, and the aims."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for run in runs:
        label = f"{run['name']}, {run['minutes']:g} minutes"
        line = axes.plot(*zip(*run.get("curve") or [(0.0, 0.0)], strict=True), label=label)
        axes.plot(run["minutes"], run["beam"], "o", color=line[0].get_color())
    axes.plot(list(AIMS), list(AIMS.values()), "k_", markersize=16, label="aims, test BLEU")
    axes.set(xlabel="minutes of training", ylabel="BLEU: dev (lines), test (dots)")
    axes.legend(frameon=False)
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture, dpi=150)
    plt.close(figure)
