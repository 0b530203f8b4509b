"""A training that was broken off goes on as if nothing had happened."""

from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
from rich.console import Console

from conveyor import ConveyorError
from conveyor.seq2seq import Config, read_pairs
from conveyor.seq2seq import _prepare as preparing
from conveyor.seq2seq._best import weights_of
from conveyor.seq2seq._folder import Folder
from conveyor.seq2seq._lock import locked
from conveyor.seq2seq._record import begin, pairs_of
from conveyor.seq2seq._training import resume, train
from frameworks import BACKEND
from full_disk import full_disk

from .test_loop import ctrl_c, no_ctrl_c
from .tiny import DEV, PAIRS, After, config, lines, losses


def write_tsv(path, pairs=PAIRS):
    path.write_text("".join(f"{p.source}\t{p.target}\n" for p in pairs), encoding="utf-8")
    return path


def step_of(folder):
    (path,) = (folder / "checkpoint").iterdir()
    return int(path.stem.removeprefix("step-"))


@pytest.mark.skipif(os.name == "nt", reason="a process cannot be forked on Windows")
def test_killed_and_resumed_the_losses_are_those_of_the_unbroken_training(tmp_path):
    tests = pathlib.Path(__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(tests)])}
    command = [sys.executable, "-W", "ignore", "-m", "seq2seq.killed_runs", str(tmp_path)]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    unbroken, killed = tmp_path / "unbroken", tmp_path / "killed"
    begun_at = [line["step"] for line in lines(killed, "begin")]
    assert len(begun_at) == (3 if BACKEND == "torch" else 2)
    assert begun_at == sorted(set(begun_at))
    assert begun_at[-1] < 20
    assert len(losses(unbroken)) == 20
    assert losses(killed) == losses(unbroken)
    for one, other in zip(lines(killed, "evaluation"), lines(unbroken, "evaluation"), strict=True):
        assert (one["step"], one["loss"], one["best"]) == (
            other["step"],
            other["loss"],
            other["best"],
        )
        for measure in ("perplexity", "exact_match"):
            assert one["dev"][measure] == other["dev"][measure]
    models = [keras.saving.load_model(folder / "model.keras") for folder in (killed, unbroken)]
    for one, other in zip(*map(weights_of, models), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A folder with a finished training, to be copied."""
    folder = tmp_path_factory.mktemp("done") / "model"
    corpus = write_tsv(folder.parent / "pairs.tsv")
    train(corpus, folder, dev=DEV, config=config(evaluate_every=5, keep_best=2))
    return folder


@pytest.fixture
def copied(done, tmp_path):
    shutil.copytree(done, tmp_path / "model")
    return tmp_path / "model"


def test_the_folder_of_a_training(done):
    assert {path.name for path in done.iterdir()} >= {
        "best",
        "checkpoint",
        "config.yaml",
        "data",
        "log.jsonl",
        "model.keras",
        "training.json",
        "vocabulary.json",
    }
    assert not list(done.rglob(".part*"))
    assert len(list((done / "best").iterdir())) == 2
    assert step_of(done) == 12
    assert Config.from_yaml(done / "config.yaml") == config(evaluate_every=5, keep_best=2)
    model = keras.saving.load_model(done / "model.keras")
    kept = json.loads((done / "vocabulary.json").read_text(encoding="utf-8"))
    assert kept == {"source": model.source.to_dict(), "target": model.target.to_dict()}
    (end,) = lines(done, "end")
    assert json.loads((done / "training.json").read_text(encoding="utf-8"))["result"].items() <= (
        end.items()
    )
    assert [len(lines(done, event)) for event in ("begin", "batch", "evaluation")] == [1, 12, 3]


def test_a_finished_training_says_so(copied, capsys):
    before = (copied / "log.jsonl").read_bytes()
    training = resume(copied, console=Console(width=500))
    assert re.search("finished: steps after 12 steps", capsys.readouterr().out)
    assert (training.steps, training.ended) == (12, "steps")
    assert len(training.history) == 3
    assert training.translator(["ab"])
    assert (copied / "log.jsonl").read_bytes() == before


def test_a_finished_training_is_prolonged_by_its_settings(copied):
    training = resume(copied, settings={"training.steps": "15"})
    assert (training.steps, training.ended) == (15, "steps")
    assert [line["step"] for line in lines(copied, "batch")] == list(range(1, 16))
    assert Config.from_yaml(copied / "config.yaml").training.steps == 15
    assert any("12 -> 15" in line["text"] for line in lines(copied, "notice"))


def test_nothing_is_overwritten(copied, tmp_path):
    before = {path: path.read_bytes() for path in copied.rglob("*") if path.is_file()}
    with pytest.raises(ConveyorError, match="resume"):
        train(PAIRS, copied, config=config())
    after = {path: path.read_bytes() for path in copied.rglob("*") if path.is_file()}
    before[copied / ".lock"] = after[copied / ".lock"]
    assert after == before
    other = tmp_path / "other"
    other.mkdir()
    (other / "model.keras").write_text("somebody's")
    with pytest.raises(ConveyorError, match=r"with model\.keras"):
        train(PAIRS, other, config=config())


def test_one_training_at_a_time(copied):
    with locked(copied, "train"), pytest.raises(ConveyorError, match=str(os.getpid())):
        resume(copied)


def test_a_folder_that_is_none(tmp_path):
    with pytest.raises(ConveyorError, match="is not there"):
        resume(tmp_path / "nowhere")
    with pytest.raises(ConveyorError, match="is empty"):
        resume(tmp_path)
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(ConveyorError, match=r"holds notes\.txt"):
        resume(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"notes.txt"}
    (tmp_path / "training.json").write_text("{")
    with pytest.raises(ConveyorError, match="cannot be read"):
        resume(tmp_path)
    (tmp_path / "training.json").write_text('{"format": 99, "conveyor": "9.0"}')
    with pytest.raises(ConveyorError, match=r"conveyor==9\.0"):
        resume(tmp_path)


def test_settings_that_cannot_change(copied):
    for name, value in (("model.units", 10), ("data.seed", 5), ("training.optimizer", "adamw")):
        with pytest.raises(ConveyorError, match=name):
            resume(copied, settings={name: value})
    with pytest.raises(ConveyorError, match="Did you mean"):
        resume(copied, settings={"training.step": 20})


def prolonged(folder):
    return resume(folder, settings={"training.steps": 13})


def test_without_data_what_was_only_in_memory_is_missed(copied):
    shutil.rmtree(copied / "data")
    with pytest.raises(ConveyorError, match=r"no .*model/data/dev-pairs\.jsonl"):
        prolonged(copied)


def test_a_corpus_that_has_changed_or_is_gone(tmp_path):
    corpus = write_tsv(tmp_path / "pairs.tsv")
    folder = tmp_path / "model"
    train(corpus, folder, dev=[], config=config(steps=2))
    write_tsv(corpus, PAIRS[::-1])
    assert resume(folder, settings={"training.steps": 3}).steps == 3
    assert any("have changed" in line["text"] for line in lines(folder, "notice"))
    shutil.rmtree(folder / "data")
    with pytest.raises(ConveyorError, match="the files have changed"):
        resume(folder, settings={"training.steps": 4})
    shutil.rmtree(folder / "data")
    corpus.unlink()
    with pytest.raises(ConveyorError, match=r"no .*pairs\.tsv"):
        resume(folder)
    write_tsv(corpus)
    assert resume(folder).steps == 4


@pytest.mark.parametrize("broken_in", ["learn_vocabularies", "encode_pairs", "write_pairs"])
def test_broken_off_while_pairs_are_made_ready(tmp_path, monkeypatch, broken_in):
    corpus = write_tsv(tmp_path / "pairs.tsv")
    folder = Folder(tmp_path / "model")
    folder.path.mkdir()
    begin(folder, read_pairs(corpus), None, config())
    real = getattr(preparing, broken_in)
    calls = []

    def breaking(*args):
        calls.append(args)
        if broken_in != "encode_pairs" or len(calls) == 2:
            raise KeyboardInterrupt
        return real(*args)

    with monkeypatch.context() as patch:
        patch.setattr(preparing, broken_in, breaking)
        with pytest.raises(KeyboardInterrupt):
            pairs_of(folder, config(), [])
    made, read = pairs_of(folder, config(), []), pairs_of(folder, config(), [])
    in_memory = preparing.prepare(read_pairs(corpus), None, config(), None)
    for ready in (made, read):
        assert ready.dev == in_memory.dev
        assert ready.source.to_dict() == in_memory.source.to_dict()
        assert ready.train.digest == in_memory.train.digest
        assert ready.dev_encoded.digest == in_memory.dev_encoded.digest
    assert read.notes == []


@no_ctrl_c
def test_ctrl_c_then_resume(tmp_path):
    folder = tmp_path / "model"
    settings = config(steps=5)
    training = train(PAIRS, folder, dev=[], config=settings, callbacks=[After(3, ctrl_c)])
    assert (training.interrupted, training.steps, training.model) == (True, 3, "last")
    assert step_of(folder) == 3
    assert (folder / "model.keras").exists()
    training = resume(folder)
    assert (training.ended, training.steps) == ("steps", 5)
    assert [step for step, *_ in losses(folder)] == [1, 2, 3, 4, 5]


def test_a_full_disk_ends_no_training(tmp_path, monkeypatch):
    """From step 3 to step 9 there is no room: the first checkpoint stays, and then the last."""
    folder = tmp_path / "model"
    settings = config(evaluate_every=2, checkpoint_minutes=1e-9)
    steps = {}
    with full_disk(monkeypatch, 10**9, only=lambda path: folder in path.parents) as disk:

        def no_room(_):
            disk.room = 1_000

        def look(_):
            steps["full"] = step_of(folder)

        def room(_):
            disk.room = 10**9

        callbacks = [After(3, no_room), After(8, look), After(9, room)]
        training = train(PAIRS, folder, dev=[], config=settings, callbacks=callbacks)
    assert training.ended == "steps"
    assert steps["full"] in {2, 3}
    assert step_of(folder) == 12
    notices = [line["text"] for line in lines(folder, "notice")]
    assert any("could not be written" in text and "No space left" in text for text in notices)
    assert [line["step"] for line in lines(folder, "batch")] == list(range(1, 13))


def test_a_disk_that_stays_full_ends_with_a_lesson(tmp_path, monkeypatch):
    folder = tmp_path / "model"
    settings = config(steps=6)
    with full_disk(monkeypatch, 10**9, only=lambda path: folder in path.parents) as disk:

        def no_room(_):
            disk.room = 1_000

        with pytest.raises(ConveyorError, match=r"No space left[\s\S]*write resume"):
            train(PAIRS, folder, dev=[], config=settings, callbacks=[After(3, no_room)])
    assert step_of(folder) == 0
    assert resume(folder).steps == 6
    assert [step for step, *_ in losses(folder)] == [1, 2, 3, 4, 5, 6]


def test_a_damaged_checkpoint_is_refused(copied):
    (path,) = (copied / "checkpoint").iterdir()
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ConveyorError, match="damaged"):
        prolonged(copied)


@pytest.mark.skipif(BACKEND != "torch", reason="one backend is enough: the file is the same")
def test_another_backend_goes_on_and_says_so(copied, monkeypatch):
    given = json.loads((copied / "training.json").read_text(encoding="utf-8"))
    (copied / "training.json").write_text(json.dumps({**given, "backend": "jax"}))
    prolonged(copied)
    assert any("began on jax" in line["text"] for line in lines(copied, "notice"))
