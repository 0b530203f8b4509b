"""A training that is killed now and then, beside one that is not: for `test_resume.py`.

One process imports all there is to import; the trainings are children of it.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
import time
import traceback
from pathlib import Path

import keras

from conveyor.seq2seq import Config
from conveyor.seq2seq._training import resume, train

from .tiny import DEV, PAIRS, config

TORCH = keras.backend.backend() == "torch"
# Batches in the log: in the midst of an epoch; after an evaluation. Others compile each time.
KILLED_AT = (3, 14) if TORCH else (14,)

# What Keras imports with the first batch.
for module in ("torch._dynamo" if TORCH else "jax", "tensorflow"):
    if importlib.util.find_spec(module):
        importlib.import_module(module)


def settings() -> Config:
    extra = {}
    if TORCH:  # nothing to compile
        extra = {
            "accumulate": 2,
            "scheduled_sampling": 0.3,
            "average_best": True,
            "data.length_buckets": 3,
            "model.recurrent_dropout": 0.1,
        }
    return config(
        steps=20,
        moving_average=0.8,
        evaluate_every=9,
        checkpoint_minutes=0.001,  # every few batches
        **extra,
    )


def start(folder: Path) -> int:
    """The process number of a training, new or going on."""
    child = os.fork()
    if child:
        return child
    try:
        if (folder / "training.json").exists():
            resume(folder)
        else:
            train(PAIRS, folder, config=settings(), dev=DEV)
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
