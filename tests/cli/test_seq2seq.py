"""The commands around a translator, on one that has learned to count."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from conveyor import ConveyorError
from conveyor.cli import app

PAIRS = [("one", "1"), ("two", "2"), ("three", "3"), ("four", "4"), ("five", "5")]
SMALL = """
model: {units: 32, embedding_size: 16, output_size: 16, dropout: 0.0}
text: {tokens: characters}
data: {batch_tokens: 16}
training:
  {learning_rate: 0.02, label_smoothing: 0.0, epochs: null, steps: 80, judge_by: exact_match}
search: {beam: 3}
"""


def run(*arguments: str | Path, said: str = "") -> str:
    done = CliRunner().invoke(app, [*map(str, arguments)], input=said)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("sacrebleu")
    place = tmp_path_factory.mktemp("counting")
    (place / "pairs.tsv").write_text("".join(f"{a}\t{b}\n" for a, b in PAIRS))
    (place / "small.yaml").write_text(SMALL)
    pairs = place / "pairs.tsv"
    shown = run(
        "train", pairs, "--dev", pairs, "--out", place / "model", "--config", place / "small.yaml"
    )
    assert "conveyor translate" in shown
    return place


def test_translates_lines_in_order(folder: Path) -> None:
    assert run("translate", folder / "model", said="two\n\nfive\n") == "2\n\n5\n"
    lines = run("translate", folder / "model", "--n-best", 2, said="two\n").splitlines()
    assert [line.split("\t")[0] for line in lines] == ["1", "1"]
    assert lines[0].endswith("\t2")
    scores = [float(line.split("\t")[1]) for line in lines]
    assert scores[0] > scores[1]
    assert re.fullmatch(
        r"-0\.\d+\t3\n", run("translate", folder / "model", "--scores", said="three\n")
    )


def test_an_ensemble_of_one_and_the_same(folder: Path) -> None:
    model = folder / "model"
    assert run("translate", model, model, said="four\n") == "4\n"


def test_evaluates(folder: Path) -> None:
    shown = run("evaluate", folder / "model", folder / "pairs.tsv")
    assert "BLEU" in shown
    assert "version:" in shown.replace("\n", "")
    assert "100.0%" in shown


def test_scores(folder: Path) -> None:
    shown = run("score", folder / "model", "--pairs", folder / "pairs.tsv").splitlines()
    assert len(shown) == len(PAIRS)
    total, per_token = map(float, shown[0].split("\t"))
    assert total == pytest.approx(2 * per_token, abs=1e-3)
    assert -0.5 < total <= 0


def test_chats(folder: Path) -> None:
    shown = run("chat", folder / "model", said="two\n/why\n/what\n/new\nfive\n/quit\nnot read\n")
    lines = shown.splitlines()
    assert lines[0] == "2"
    assert "two" in lines[1]
    assert "There is no /what" in shown
    assert lines[-1] == "5"


def test_inspects(folder: Path) -> None:
    pytest.importorskip("xarray")
    out = folder / "one.html"
    run("inspect", folder / "model", "two", "five", "--out", out)
    page = out.read_text(encoding="utf-8")
    for part in ("Attention", "The search", "The beam"):
        assert part in page
    data = json.loads(re.search(r'id="conveyor-data">(.*?)</script', page, re.S)[1])
    assert [layer["path"].split("/")[0] for layer in data["layers"]] == ["encoder"] * 2 + [
        "decoder"
    ]
    assert data["attention"]["targets"] == [["2", "<end>"], ["5", "<end>"]]
    assert data["attention"]["sources"] == [list("two"), list("five")]
    with pytest.raises(ConveyorError, match="a sentence to translate"):
        run("inspect", folder / "model", " ")


def test_the_report_of_a_training_is_beside_it(folder: Path) -> None:
    pytest.importorskip("xarray")
    page = (folder / "model" / "report.html").read_text(encoding="utf-8")
    assert "until steps" in page


def test_resume_of_a_finished_training_says_so(folder: Path) -> None:
    shown = run("train", "--resume", folder / "model")
    assert "is finished" in " ".join(shown.split())


def test_nothing_is_held_out(folder: Path) -> None:
    out, config = folder / "all", folder / "small.yaml"
    pairs = folder / "pairs.tsv"
    run(
        *("train", pairs, "--no-dev", "--out", out, "--config", config),
        *("--set", "training.steps=1"),
    )
    begun = json.loads((out / "log.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert (begun["pairs"], begun["dev_pairs"]) == (5, 0)
    assert "three" in (out / "report.html").read_text(encoding="utf-8")


def test_mistakes_are_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs, model = folder / "pairs.tsv", folder / "model"
    for arguments, message in [
        (["train"], "files of pairs"),
        (["train", pairs], "no --out"),
        (["train", pairs, "--out", model], "resume"),
        (["train", pairs, "--out", folder / "m", "--set", "training.epoch=3"], "training.epochs"),
        (["train", pairs, "--out", folder / "m", "--set", "epochs"], "--set training.epochs=10"),
        (["train", pairs, "--resume", model], "nothing beside the folder"),
        (["train", pairs, "--out", folder / "m", "--dev", pairs, "--no-dev"], "--dev or --no-dev"),
        (["translate", folder / "nothing"], "nothing"),
    ]:
        with pytest.raises((ConveyorError, OSError), match=message):
            run(*arguments)
    latin = io.TextIOWrapper(io.BytesIO("caf\xe9\n".encode("latin1")))
    monkeypatch.setattr("sys.stdin", latin)
    from conveyor.cli._translate import _lines

    with pytest.raises(ConveyorError, match="line 1"):
        list(_lines())


def test_settings_are_shown(folder: Path) -> None:
    shown = run("train", "--show-config", "--max-minutes", 3, "--set", "model.units=64")
    assert "  units: 64\n" in shown
    assert "  max_minutes: 3.0\n" in shown
    assert "  epochs: null\n" in shown
    assert "  dropout: 0.2\n" in shown
    for arguments in (["chatterbot:english"], ["talk.tsv", "--dialogues"]):
        assert "  dropout: 0.0\n" in run("train", *arguments, "--show-config")


def test_exported_it_translates_without_conveyor(folder: Path) -> None:
    pytest.importorskip("onnxruntime")
    exported = folder / "exported"
    assert "largest difference" in run("export", folder / "model", "-o", exported)
    done = subprocess.run(
        [sys.executable, exported / "translate.py"],
        input="two\n\nfive\n",
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "2\n\n5\n"
    with pytest.raises(ConveyorError, match=r"-o it\.$"):
        run("export", folder / "model", "-o", "it.onnx")
    with pytest.raises(ConveyorError, match="anyhow"):
        run("export", folder / "model", "-o", "it", "--states")
