"""What a training writes about itself: for people, for programs, for TensorBoard."""

from __future__ import annotations

import io
import json
import math
import sys

import pytest
from rich.console import Console

from conveyor.seq2seq._display import Display
from conveyor.seq2seq._evaluation import Evaluation
from conveyor.seq2seq._history import Evaluated, Sample, TrainedBatch
from conveyor.seq2seq._log import Log
from conveyor.seq2seq._tensorboard import TensorBoard
from full_disk import full_disk

DEV = Evaluation(
    pairs=40,
    perplexity=12.5,
    translated=20,
    bleu=31.25,
    chrf=50.5,
    exact_match=0.125,
    sentences_per_second=10.0,
    tokens_per_second=100.0,
)
BEGAN = {
    "step": 0,
    "pairs": 4_000,
    "dev_pairs": 40,
    "source_vocabulary": 300,
    "target_vocabulary": 200,
    "parameters": 5_000,
    "backend": "jax",
}
ENDED = {
    "ended": "steps",
    "steps": 20,
    "seconds": 75.0,
    "target_tokens": 15_000,
    "model": "best",
    "model_step": 10,
    "dev": vars(DEV),
}
EVALUATED = Evaluated(
    step=20,
    epoch=0.5,
    seconds=75.0,
    loss=2.5,
    perplexity=math.inf,
    learning_rate=0.001,
    dev=DEV,
    best=True,
    samples=(Sample("ein Haus", "a house", "a [mouse]"),),
)


def batch(step):
    return TrainedBatch(step, step / 40, 2.0 + step, 1.0 + step, 0.1 + 0.2, 100, 4.0 * step, 0.25)


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_the_log_says_everything_exactly(tmp_path):
    log = Log(tmp_path / "log.jsonl")
    log.began({"pairs": 40})
    log.trained(batch(1))
    log.evaluated(EVALUATED)
    log.close()
    begin, trained, evaluated = lines(tmp_path / "log.jsonl")
    assert begin == {"event": "begin", "pairs": 40}
    assert trained == {"event": "batch", **batch(1)._asdict()}
    assert evaluated["dev"]["bleu"] == 31.25
    assert evaluated["perplexity"] is None  # JSON has no infinity
    assert evaluated["samples"] == [EVALUATED.samples[0]._asdict()]


def test_what_a_killed_process_wrote_behind_its_checkpoint_goes(tmp_path):
    path = tmp_path / "log.jsonl"
    log = Log(path)
    log.trained(batch(1))
    size = log.size
    log.trained(batch(2))
    log.close()
    path.write_bytes(path.read_bytes()[:-7])  # torn
    log = Log(path, keep=size)
    log.trained(batch(2))
    log.close()
    assert [line["step"] for line in lines(path)] == [1, 2]


def test_lines_wait_for_room_on_the_disk(tmp_path, monkeypatch):
    path = tmp_path / "log.jsonl"
    with full_disk(monkeypatch, 250) as disk:
        log = Log(path)
        for step in range(1, 6):
            log.trained(batch(step))
        assert [line["step"] for line in lines(path)] == [1]
        disk.room = 10**6
        log.trained(batch(6))
        log.close()
    assert [line["step"] for line in lines(path)] == [1, 2, 3, 4, 5, 6]


def test_an_evaluation_comes_back_from_a_checkpoint():
    again = Evaluated.from_dict(json.loads(json.dumps(EVALUATED.to_dict())))
    assert again == EVALUATED


@pytest.mark.parametrize("terminal", [False, True])
def test_the_display_shows_what_matters(terminal):
    output = io.StringIO()
    console = Console(file=output, force_terminal=terminal, width=200, legacy_windows=False)
    display = Display(console)
    display.began(BEGAN)
    display._shown = -math.inf  # as if a minute had passed
    display.trained(batch(1))
    display._shown = -math.inf
    display.trained(batch(2))
    display.evaluating()
    display.evaluated(EVALUATED)
    display.notice("[disk] full")
    display.ended(ENDED)
    display.close()
    text = output.getvalue()
    for words in (
        "step 2",
        "loss 3.500",  # of both
        "perplexity 12.18",
        "25 tokens/s",  # 100 in 4 s
        "0:24 left",
        "1:15  step 20",
        "dev perplexity 12.50  BLEU 31.2  chrF 50.5  exact 12.5%",
        "a [mouse]",
        "[disk] full",
        "4,000 pairs to learn from, 40 to judge by; vocabulary 300 and 200; 5,000 parameters",
        "Ended by steps after 20 steps of training in 1:15, 200 target tokens/s.",
        "The best model, of step 10: dev perplexity 12.50  BLEU 31.2  chrF 50.5",
    ):
        assert words in text


def test_tensorboard_reads_the_curves(tmp_path, monkeypatch):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    first = TensorBoard(tmp_path / "tb", 0)
    for step in range(1, 31):
        first.trained(batch(step))
    first.close()
    again = TensorBoard(tmp_path / "tb", 10)  # resumed at step 10
    again.evaluated(EVALUATED)
    again.close()
    files = sorted((tmp_path / "tb").iterdir())
    assert len(files) == 2
    events = [event for file in files for event in EventFileLoader(str(file)).Load()]
    curves = {(value.tag, event.step) for event in events for value in event.summary.value}
    assert {("train/loss", 10), ("train/loss", 30), ("dev/bleu", 20)} <= curves
    starts = [event.step for event in events if event.HasField("session_log")]
    assert starts == [1, 11]
    monkeypatch.setitem(sys.modules, "tensorboard.compat.proto.event_pb2", None)
    with pytest.raises(ImportError, match="conveyor\\[seq2seq\\]"):
        TensorBoard(tmp_path / "tb", 0)
