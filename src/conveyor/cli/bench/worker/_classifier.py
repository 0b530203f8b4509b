"""`model.fit` of a two-layer text classifier, as a user writes it."""

from __future__ import annotations

from functools import partial
from typing import Any

import keras
import numpy as np

from ....layers import LSTM
from .._job import Job
from ._ready import Ready

STEPS = 100  # batches in one run
_WORDS = 10_000
_CLASSES = 4


def prepare(job: Job, *, own: bool, engine: str) -> Ready:
    """Embedding, two LSTMs and Dense, compiled with Keras's defaults.

    `job.features` is the width of the embedding. Both layers start from the same weights,
    as both draw them from the same seed in the same order.
    """
    lstm = partial(LSTM, engine=engine) if own else keras.layers.LSTM
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((job.time_steps,), dtype="int32"),
            keras.layers.Embedding(_WORDS, job.features),
            lstm(job.units, return_sequences=True),
            lstm(job.units),
            keras.layers.Dense(_CLASSES),
        ]
    )
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    rng = np.random.default_rng(0)
    words = rng.integers(0, _WORDS, (STEPS * job.batch, job.time_steps), "int32")
    labels = rng.integers(0, _CLASSES, STEPS * job.batch, "int32")

    def run() -> Any:
        return model.fit(words, labels, batch_size=job.batch, shuffle=False, verbose=0)

    def loss(history: Any) -> dict[str, np.ndarray]:
        return {"loss": np.asarray(history.history["loss"], "float32")}

    return Ready(run, loss, parts=STEPS)
