"""Settings: each known, each in range."""

from __future__ import annotations

import dataclasses
import json

import pytest

from conveyor import ConveyorError
from conveyor.seq2seq import Config


def test_there_and_back():
    config = Config(units=64, max_seconds=1.5, fold_source=False)
    assert Config.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert Config.from_dict({}) == Config()


def test_an_unknown_key_is_an_error_that_names_the_nearest():
    with pytest.raises(ConveyorError, match="Did you mean 'learning_rate'"):
        Config.from_dict({"learningrate": 0.1})
    with pytest.raises(ConveyorError, match="batch_size"):
        Config.from_dict({"xyzzy": 1})


@pytest.mark.parametrize(
    "wrong",
    [
        {"units": 0},
        {"units": "128"},
        {"units": True},
        {"batch_size": -1},
        {"batch_size": 2.5},
        {"learning_rate": 0.0},
        {"warmup": 1.0},
        {"warmup": -0.1},
        {"max_seconds": 0},
        {"seed": -1},
        {"fold_source": 1},
        {"steps": None, "max_seconds": None},
    ],
    ids=str,
)
def test_values_out_of_range(wrong):
    with pytest.raises(ConveyorError, match=next(iter(wrong))):
        Config(**wrong)


def test_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().units = 3
