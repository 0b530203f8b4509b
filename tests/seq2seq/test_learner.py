"""The loss of the training, against the logits of the model."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from conveyor.seq2seq import Learner, TrainingConfig
from frameworks import to_numpy

from .models import small, targets, tokens


def batch(rng: np.random.Generator, fill: int = 3) -> dict[str, np.ndarray]:
    target = targets(rng, [4, 2, 1])
    flat = np.flatnonzero(target)
    positions, labels = np.zeros((2, len(flat) + fill), "int32")
    positions[: len(flat)], labels[: len(flat)] = flat, rng.integers(2, 12, len(flat))
    return {
        "source": tokens(rng, [5, 3, 2]),
        "target": target,
        "positions": positions,
        "labels": labels,
    }


@pytest.mark.parametrize("kind", ["general, 2 layers", "dot", "no attention"])
def test_losses_are_those_of_the_logits(kind: str) -> None:
    rng, model = np.random.default_rng(0), small(kind)
    inputs = batch(rng)
    learner = Learner(model, TrainingConfig(label_smoothing=0.2))
    learner.compile(optimizer=keras.optimizers.SGD(0.0))
    logs = learner.train_on_batch(inputs, return_dict=True)
    logits = to_numpy(model(inputs)).astype("float64")
    logits = logits.reshape(-1, logits.shape[-1])[inputs["positions"]][:-3]
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    chosen = log_p[np.arange(len(log_p)), inputs["labels"][:-3]]
    assert float(logs["nll"]) == pytest.approx(-chosen.mean(), rel=1e-5)
    smoothed = -(0.8 * chosen + 0.2 * log_p.mean(-1))
    assert float(logs["loss"]) == pytest.approx(smoothed.mean(), rel=1e-5)


def test_learns() -> None:
    rng, model = np.random.default_rng(0), small(dropout=0.1)
    learner = Learner(model, TrainingConfig())
    learner.compile(optimizer=keras.optimizers.Adam(0.02))
    inputs = batch(rng)
    first = float(learner.train_on_batch(inputs, return_dict=True)["nll"])
    for _ in range(60):
        learner.reset_metrics()
        last = float(learner.train_on_batch(inputs, return_dict=True)["nll"])
    assert last < 0.3 * first


def test_scheduled_sampling_reads_own_tokens() -> None:
    rng, model = np.random.default_rng(0), small()
    inputs = batch(rng)
    learner = Learner(model, TrainingConfig(scheduled_sampling=0.5))
    np.testing.assert_array_equal(to_numpy(learner._with_own_tokens(inputs)), inputs["target"])
    learner.sampling_share.assign(1.0)
    own = to_numpy(learner._with_own_tokens(inputs))
    logits = to_numpy(model(inputs))
    expected = np.where(inputs["target"] == 0, 0, np.roll(logits.argmax(-1), 1, axis=1))
    expected[:, 0] = 1
    np.testing.assert_array_equal(own, expected)
    learner.compile(optimizer=keras.optimizers.SGD(0.0))
    learner.train_on_batch(inputs)
