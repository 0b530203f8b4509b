"""Models of Keras, from files that each backend wrote: the same numbers on this one."""

from __future__ import annotations

import tarfile

import keras
import numpy as np
import pytest

import conveyor
from conveyor import LSTM, convert
from conveyor.cli._model_file import load
from conveyor.convert._reference import hidden_states
from frameworks import to_numpy

from .save import MODELS, SAVED, X

BACKENDS = ("jax", "torch", "tensorflow")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    with tarfile.open(SAVED) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture(params=BACKENDS)
def written_on(request):
    return request.param


@pytest.fixture(params=MODELS)
def case(request, saved, written_on):
    with np.load(saved / f"outputs-{written_on}.npz") as file:
        outputs = {name: file[name] for name in file.files if name.startswith(f"{request.param}.")}
    return saved / f"{request.param}-{written_on}.keras", list(outputs.values())


def assert_outputs(model, expected):
    actual = keras.tree.flatten(model(X))
    for one, other in zip(actual, expected, strict=True):
        np.testing.assert_allclose(to_numpy(one), other, atol=2e-6)


def test_accelerated(case):
    path, expected = case
    model = conveyor.accelerate(load(path), verbose=False)
    assert all(item.now or item.was == "conveyor.LSTM" for item in _plan(model))
    assert_outputs(model, expected)


def _plan(model):
    # Of a stack of cells the loop alone is conveyor's: the class stays.
    plan = conveyor.acceleration_plan(model)
    assert plan
    return plan


def test_patched(case, monkeypatch):
    path, expected = case
    with conveyor.patch_keras():
        model = load(path)
        monkeypatch.setattr("keras.src.layers.rnn.rnn.backend.rnn", None)  # Keras's own loop
        assert_outputs(model, expected)


def test_weights_alone(saved, written_on):
    path = saved / f"sequential-{written_on}.keras"
    states = hidden_states(convert.weights_of(path), X)[:, -1]
    dense = load(path).layers[-1]
    with np.load(saved / f"outputs-{written_on}.npz") as file:
        expected = file["sequential.0"]
    np.testing.assert_allclose(to_numpy(dense(states)), expected, atol=2e-6)


def test_saved_again(saved, written_on, tmp_path):
    model = conveyor.accelerate(load(saved / f"functional-{written_on}.keras"), verbose=False)
    model.save(tmp_path / "fast.keras")
    again = load(tmp_path / "fast.keras")
    assert type(again.get_layer("second")) is LSTM
    with np.load(saved / f"outputs-{written_on}.npz") as file:
        assert_outputs(again, [file["functional.0"], file["functional.1"]])
