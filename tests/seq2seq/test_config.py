"""Settings: checked, found again in files, changed from text."""

from __future__ import annotations

import dataclasses

import pytest

from conveyor import ConveyorError
from conveyor.seq2seq import Config, ModelConfig, TrainingConfig


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model": {"unit": 3}}, "Did you mean 'model.units'"),
        ({"units": 3}, "Did you mean 'model.units'"),
        ({"model": 3}, "settings by name in model"),
        ({"training": {"epochs": -1}}, "epochs to be a number, above 0 or None"),
        ({"training": {"warmup": 1.0}}, "from 0 to below 1"),
        ({"model": {"units": 2.0}}, "a whole number"),
        ({"model": {"units": True}}, "a whole number"),
        ({"model": {"dropout": float("nan")}}, "dropout"),
        ({"model": {"attention": "luong"}}, "one of 'none', 'dot'"),
        ({"model": {"units": 3}}, "even number of units"),
        ({"model": {"attention": "none", "coverage": True}}, "coverage"),
        ({"model": {"attention": "none", "input_feeding": True}}, "input feeding"),
        ({"model": {"recurrent_dropout": 0.1, "coverage": True}}, "recurrent_dropout"),
        ({"model": {"output_size": 3}}, "output_size"),
        ({"text": {"shared": False}}, "one vocabulary for both sides"),
        ({"training": {"epochs": None}}, "an end of the training"),
    ],
)
def test_what_cannot_be_meant_is_refused(values: dict, message: str) -> None:
    with pytest.raises(ConveyorError, match=message):
        Config.from_dict(values)


def test_a_file_gives_back_what_was_written(tmp_path) -> None:
    config = Config(model=ModelConfig(units=6), training=TrainingConfig(epochs=1, decay="linear"))
    config.to_yaml(tmp_path / "c.yaml")
    assert Config.from_yaml(tmp_path / "c.yaml") == config
    (tmp_path / "some.yaml").write_text("training:\n  learning_rate: 1\n")
    assert Config.from_yaml(tmp_path / "some.yaml").training.learning_rate == 1.0
    for text in ("a: [", "- 1", b"\xff\xfe\x00"):
        (tmp_path / "bad.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
        with pytest.raises(ConveyorError):
            Config.from_yaml(tmp_path / "bad.yaml")


def test_what_a_file_does_not_mention_is_as_in_others(tmp_path) -> None:
    chatbot = Config.for_dialogues()
    assert chatbot.model.dropout == chatbot.training.label_smoothing == 0
    (tmp_path / "c.yaml").write_text("model:\n  units: 6\ntraining:\n  label_smoothing: 0.3\n")
    config = Config.from_yaml(tmp_path / "c.yaml", chatbot)
    changed = {"model.units": 6, "training.label_smoothing": 0.3}
    assert config == chatbot.with_settings(changed)
    with pytest.raises(ConveyorError, match="settings by name in model"):
        Config.from_dict({"model": 3}, chatbot)
    with pytest.raises(ConveyorError, match="settings by name"):
        Config.from_dict(3, chatbot)


def test_settings_from_text() -> None:
    text = {
        "training.learning_rate": "2e-3",
        "training.epochs": "none",
        "training.steps": "7",
        "model.bidirectional": "false",
        "model.bridge": "zero",
    }
    config = Config().with_settings(text)
    assert config.training == TrainingConfig(learning_rate=2e-3, epochs=None, steps=7)
    assert config.model == ModelConfig(bidirectional=False, bridge="zero")
    for bad in ({"training.step": "7"}, {"steps": "7"}, {"training.steps": "many"}):
        with pytest.raises(ConveyorError):
            Config().with_settings(bad)


def test_it_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().model.units = 3
