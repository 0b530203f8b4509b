"""A training that takes a second: words of four letters, to be read backwards."""

from __future__ import annotations

import json
import random
from pathlib import Path

import keras

from conveyor.seq2seq import Config, Pair

_LETTERS = random.Random(0)
PAIRS = [
    Pair(word, word[::-1], (f"{len(word)} letters",))
    for word in ("".join(_LETTERS.choices("abcd", k=_LETTERS.randint(2, 5))) for _ in range(60))
]
DEV = PAIRS[:2]


def config(**training) -> Config:
    settings = {
        "model.units": 8,
        "model.embedding_size": 6,
        "model.output_size": 6,
        "text.tokens": "characters",
        "data.batch_tokens": 32,
        "data.length_buckets": 1,
        "training.epochs": None,
        "training.steps": 12,
        "training.learning_rate": 0.02,
        "training.judge_by": "exact_match",
        "training.precision": "float32",
    }
    settings.update(
        {name if "." in name else f"training.{name}": value for name, value in training.items()}
    )
    return Config().with_settings(settings)


def lines(folder: Path, event: str) -> list[dict]:
    """Of the log of a training."""
    log = (Path(folder) / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return [line for line in map(json.loads, log) if line["event"] == event]


def losses(folder: Path) -> list[tuple]:
    names = ("step", "loss", "cross_entropy", "learning_rate", "target_tokens")
    return [tuple(line[name] for name in names) for line in lines(folder, "batch")]


class After(keras.callbacks.Callback):
    """Does something after so many batches; keeps the weights of each."""

    def __init__(self, batches=0, act=lambda learner: None):
        super().__init__()
        self.batches, self.act = batches, act
        self.weights = []

    def on_train_batch_end(self, batch, logs=None):
        values = [keras.ops.convert_to_numpy(v).copy() for v in self.model.trainable_variables]
        self.weights.append(values)
        if batch + 1 == self.batches:
            self.act(self.model)
