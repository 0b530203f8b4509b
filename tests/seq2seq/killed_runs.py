"""A training that is killed now and then, beside one that is not: `python killed_runs.py FOLDER`.

One process imports all there is to import; the trainings are children of it.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path

import keras

from conveyor.seq2seq import Config, Pair
from conveyor.seq2seq._training import resume, train

STEPS = 24
# Between checkpoints, in the midst of an epoch; the last one after an evaluation.
KILLED_AT = (3, 11, 20)

_LETTERS = random.Random(0)
PAIRS = [
    Pair(word, word[::-1])
    for word in ("".join(_LETTERS.choices("abcd", k=_LETTERS.randint(2, 5))) for _ in range(60))
]


def config() -> Config:
    settings = {
        "model.units": 8,
        "model.embedding_size": 6,
        "model.output_size": 6,
        "text.tokens": "characters",
        "data.batch_tokens": 32,
        "data.length_buckets": 1,
        "training.epochs": None,
        "training.steps": STEPS,
        "training.learning_rate": 0.02,
        "training.moving_average": 0.8,
        "training.evaluate_every": 9,
        "training.judge_by": "exact_match",
        "training.dev_sentences": 2,
        # Every few batches.
        "training.checkpoint_minutes": 0.001,
    }
    if keras.backend.backend() == "torch":  # nothing to compile
        settings["training.accumulate"] = 2
        settings["training.scheduled_sampling"] = 0.3
        settings["training.average_best"] = True
        settings["data.length_buckets"] = 3
    return Config().with_settings(settings)


def start(folder: Path) -> int:
    """The process number of a training, new or going on."""
    child = os.fork()
    if child:
        return child
    try:
        # A training that died before there was anything to resume begins anew.
        if (folder / "training.json").exists():
            resume(folder)
        else:
            train(PAIRS, folder, config=config(), dev=PAIRS[:2])
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def wait(child: int) -> None:
    _, status = os.waitpid(child, 0)
    if status:
        sys.exit(f"a training failed: {status}")


def batches(folder: Path) -> int:
    log = folder / "log.jsonl"
    return log.read_bytes().count(b'"event": "batch"') if log.exists() else 0


def main(folder: Path) -> None:
    wait(start(folder / "unbroken"))
    killed = folder / "killed"
    for step in KILLED_AT:
        child = start(killed)
        while batches(killed) < step:
            if os.waitpid(child, os.WNOHANG)[0]:
                sys.exit("a training ended before it was killed")
            time.sleep(0.002)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    wait(start(killed))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
