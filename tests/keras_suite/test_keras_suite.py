"""Keras's own tests, run on conveyor's LSTM, GRU and their cells.

`layers.LSTM`, `layers.GRU` and the cells, as those tests name them, are conveyor's while a test
runs; RNN, Bidirectional and all else stay Keras's. Each test of Keras is a test here.
"""

from __future__ import annotations

import functools
import importlib.util
import inspect
import re
import sys
import unittest
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import keras
import numpy as np
import pytest
from keras.src import layers
from keras.src.utils import traceback_utils

import conveyor

from . import fetch

if absent := fetch.missing():
    pytest.skip(
        f"Keras {fetch.version()}'s tests are not here ({absent[0]}, ...): "
        "run python tests/keras_suite/fetch.py",
        allow_module_level=True,
    )

# What Keras warns about in its own tests is not conveyor's to mend.
pytestmark = pytest.mark.filterwarnings("default")

NAMES = ("LSTM", "LSTMCell", "GRU", "GRUCell")
KERAS_CLASSES: dict[str, type] = {name: getattr(layers, name) for name in NAMES}
CONVEYOR_CLASSES: dict[str, type] = {name: getattr(conveyor, name) for name in NAMES}

# These look at a layer without running it.
NEVER_CALLED = {"test_keeps_use_cudnn", "test_fused_lstm_eligibility", "test_fused_gru_eligibility"}


def load(path: str) -> ModuleType:
    """Import under the name that the file has in Keras; one of them imports from another."""
    name = path.removesuffix(".py").replace("/", ".")
    spec = importlib.util.spec_from_file_location(name, fetch.folder() / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def named_layers(test: Any) -> set[str]:
    """Which of the four a test of Keras names in its source."""
    return set(re.findall(r"\blayers\.(LSTMCell|LSTM|GRUCell|GRU)\b", inspect.getsource(test)))


def on_conveyor(test: Callable[..., None]) -> Callable[..., None]:
    """A test of Keras that also fails if what it ran was not conveyor's."""

    @functools.wraps(test)
    def run(self: unittest.TestCase) -> None:
        with conveyor_in_keras() as (made, called):
            test(self)
        for name, original in KERAS_CLASSES.items():
            assert not made[original], f"Keras's own {name} was made"
        for name in named_layers(test):
            assert made[CONVEYOR_CLASSES[name]], f"conveyor's {name} was not made"
            if test.__name__ not in NEVER_CALLED:
                assert called[CONVEYOR_CLASSES[name]], f"conveyor's {name} was not called"

    return run


@contextmanager
def conveyor_in_keras() -> Iterator[tuple[Counter[type], Counter[type]]]:
    """Conveyor's classes in Keras's place; counts the layers made and called, by class."""
    made: Counter[type] = Counter()
    called: Counter[type] = Counter()
    make, call = keras.Layer.__new__, keras.Layer.__call__

    def counting_make(cls: type, *args: Any, **kwargs: Any) -> Any:
        made[cls] += 1
        return make(cls, *args, **kwargs)

    def counting_call(self: Any, *args: Any, **kwargs: Any) -> Any:
        called[type(self)] += 1
        return call(self, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        for name, replacement in CONVEYOR_CLASSES.items():
            patch.setattr(layers, name, replacement)
        patch.setattr(keras.Layer, "__new__", counting_make)
        patch.setattr(keras.Layer, "__call__", counting_call)
        yield made, called


def classes_of(path: str) -> dict[str, type[unittest.TestCase]]:
    """The test classes of a file; two files may call theirs the same, so the file's name leads."""
    module = load(path)
    return {
        f"{Path(path).stem}_{name}": value
        for name, value in vars(module).items()
        if isinstance(value, type)
        and issubclass(value, unittest.TestCase)
        and value.__module__ == module.__name__
    }


def all_classes() -> dict[str, type[unittest.TestCase]]:
    """Every test class of every file, its tests put on conveyor."""
    with conveyor_in_keras():  # a decorator or a default may name layers.LSTM too
        classes = {name: cls for path in fetch.FILES for name, cls in classes_of(path).items()}
    for cls in classes.values():
        for name in unittest.TestLoader().getTestCaseNames(cls):
            setattr(cls, name, on_conveyor(getattr(cls, name)))
    return classes


TESTS = all_classes()
globals().update(TESTS)  # where pytest finds them


@pytest.fixture(autouse=True)
def traceback_filtering() -> Iterator[None]:
    """Keras's TestCase turns it off and leaves it so."""
    before = traceback_utils.is_traceback_filtering_enabled()
    yield
    if before:
        traceback_utils.enable_traceback_filtering()


def test_no_file_has_gone_empty() -> None:
    """Were Keras to rename what it tests, the rest here would pass by testing nothing."""
    naming = Counter(
        cls
        for cls, tests in TESTS.items()
        for test in unittest.TestLoader().getTestCaseNames(tests)
        if named_layers(getattr(tests, test))
    )
    assert naming["lstm_test_LSTMTest"] >= 6
    assert naming["gru_test_GRUTest"] >= 6
    assert naming["bidirectional_test_SimpleRNNTest"] >= 8
    assert naming["stacked_rnn_cells_test_StackedRNNTest"] >= 3
    assert naming["masking_test_MaskingTest"] >= 1
    assert "rnn_test_RNNTest" in TESTS


def test_everything_is_put_back() -> None:
    def state() -> tuple[Any, ...]:
        parts = vars(keras.Layer)
        return layers.LSTM, layers.GRU, parts["__new__"], parts["__call__"]

    before = state()
    with conveyor_in_keras() as (made, called):
        assert state()[:2] == (conveyor.LSTM, conveyor.GRU)
        layers.LSTM(1)(np.ones((1, 1, 1), "float32"))
        assert made[conveyor.LSTM] == called[conveyor.LSTM] == 1
    assert state() == before
    with pytest.raises(RuntimeError, match="a test fails"), conveyor_in_keras():
        raise RuntimeError("a test fails")
    assert state() == before


def uses_what_is_keras_own(self: unittest.TestCase) -> None:
    KERAS_CLASSES["LSTM"](1)


def only_names_it(self: unittest.TestCase) -> None:
    assert layers.LSTM


def only_makes_it(self: unittest.TestCase) -> None:
    layers.LSTM(1)


@pytest.mark.parametrize(
    ("test", "complaint"),
    [
        (uses_what_is_keras_own, "Keras's own LSTM was made"),
        (only_names_it, "conveyor's LSTM was not made"),
        (only_makes_it, "conveyor's LSTM was not called"),
    ],
)
def test_what_is_not_conveyors_fails(test: Callable[..., None], complaint: str) -> None:
    with pytest.raises(AssertionError, match=complaint):
        on_conveyor(test)(unittest.TestCase())
