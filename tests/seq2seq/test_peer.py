"""The plain PyTorch translator of the benchmark computes what conveyor's does."""

from __future__ import annotations

import importlib
import math
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from conveyor.seq2seq import Characters
from conveyor.seq2seq._config import Config, ModelConfig
from conveyor.seq2seq._model import Seq2Seq
from frameworks import BACKEND, only_on, to_numpy

ROOT = Path(__file__).parents[2]
pytestmark = only_on("torch")

if BACKEND == "torch":
    torch = pytest.importorskip("torch")

LETTERS = Characters("abcdefghij")
SIZES = {"units": 16, "embedding_size": 12, "output_size": 12}


@pytest.fixture
def peer(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    yield importlib.import_module("translators._peer")
    for name in [name for name in sys.modules if name.split(".")[0] == "translators"]:
        del sys.modules[name]


@pytest.fixture
def model() -> Seq2Seq:
    keras.utils.set_random_seed(3)
    model = Seq2Seq(LETTERS, LETTERS, Config(model=ModelConfig(**SIZES)))
    rng = np.random.default_rng(3)
    for weight in model.weights:  # all different, biases too
        weight.assign(weight + 0.3 * rng.normal(size=weight.shape))
    return model


def twin(peer: Any, model: Seq2Seq) -> Any:
    weights = {weight.path.partition("/")[2]: to_numpy(weight) for weight in model.weights}
    sizes = peer.Sizes(LETTERS.size, 12, 16, 12)
    return peer.from_conveyor(weights, sizes).eval()


def batch(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Of four pairs and an empty row."""
    source, target = np.zeros((5, 9), "int32"), np.zeros((5, 7), "int32")
    for row, (s, t) in enumerate([(9, 3), (1, 7), (4, 4), (6, 1)]):
        source[row, :s] = rng.integers(4, LETTERS.size, s)
        target[row, 0], target[row, 1:t] = 1, rng.integers(4, LETTERS.size, t - 1)
    following = np.concatenate([target[:, 1:], np.zeros((5, 1), "int32")], axis=1)
    following[np.arange(4), (target[:4] > 0).sum(axis=1) - 1] = 2
    counting = np.flatnonzero(following)
    positions, labels = np.zeros((2, 20), "int32")
    positions[: len(counting)], labels[: len(counting)] = counting, following.ravel()[counting]
    return {"source": source, "target": target, "positions": positions, "labels": labels}


def test_same_logits(peer: Any, model: Seq2Seq) -> None:
    inputs = batch(np.random.default_rng(0))
    expected = to_numpy(model({name: inputs[name] for name in ("source", "target")}))
    count = np.count_nonzero(inputs["labels"])
    expected = expected.reshape(-1, LETTERS.size)[inputs["positions"][:count]]
    ours = peer.Batch.of(inputs)
    np.testing.assert_array_equal(ours.labels, inputs["labels"][:count])
    found = twin(peer, model)(ours).detach().numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_its_search_is_greedy(peer: Any, model: Seq2Seq) -> None:
    """Each token is the likeliest after those before it, whatever else is in the batch."""
    translator = twin(peer, model)
    sources = [[5, 9, 4, 4, 12], [7], [6, 6, 13, 10, 8, 5, 4, 9]]
    with torch.no_grad():
        translator.logits.bias[2] += 2.0  # so that targets end
    targets = (
        importlib.import_module("translators._peer_search").Searcher(translator).translate(sources)
    )
    for source, target in zip(sources, targets, strict=True):
        written = [*target, 2][: 2 * len(source) + 20]
        pair = peer.Batch(
            torch.tensor(source)[:, None],
            torch.tensor([len(source)]),
            torch.tensor([1, *written[:-1]])[:, None],
            torch.arange(len(written)),
            torch.tensor(written),
        )
        logits = translator(pair).detach()
        logits[:, [0, 1, 3]] = -math.inf
        assert logits.argmax(dim=-1).tolist() == written


def test_flags_of_padding_stay(peer: Any, model: Seq2Seq) -> None:
    """What keeps padding out of the cell state is not unlearned."""
    translator = peer.Translator(peer.Sizes(LETTERS.size, 12, 16, 12))
    flags = translator.encoder.backward_lstm.weight_ih_l0[:, -1].detach().clone()
    trainer = peer.Trainer(translator)
    inputs = peer.Batch.of(batch(np.random.default_rng(0)))
    losses = [trainer.step(inputs) for _ in range(20)]
    assert losses[-1] < losses[0]
    torch.testing.assert_close(
        translator.encoder.backward_lstm.weight_ih_l0[:, -1], flags, rtol=0, atol=1e-4
    )
