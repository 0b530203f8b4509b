"""to_lstmvis(): the folder, read as LSTMVis reads it."""

from __future__ import annotations

import json

import h5py
import keras
import numpy as np
import pytest
from keras import layers

from conveyor import ConveyorError, trace
from conveyor.inspection import to_lstmvis


def test_the_folder_is_read_as_lstmvis_does(tmp_path) -> None:
    inputs = keras.Input((4, 3))
    h = layers.LSTM(5, return_sequences=True, name="a")(layers.Masking()(inputs))
    model = keras.Model(inputs, layers.LSTM(2, name="b")(h), name="reader")
    x = np.random.default_rng(0).normal(size=(3, 4, 3)).astype("float32")
    x[1, 2:] = 0
    words = [["a", " ", "b c", "a"], ["d", "a"], ["é", "", "\t", "a"]]
    tree = trace(model, x, tokens=words)
    folder = to_lstmvis(tree, tmp_path / "data" / "reader")
    config = json.loads((folder / "lstm.yml").read_text(encoding="utf-8"))  # which is YAML, too
    assert config["name"] == "reader"
    by_number = {}
    dictionary = config["files"][config["word_sequence"]["dict_file"]]
    for line in (folder / dictionary).read_text(encoding="utf-8").splitlines():
        word, number = line.split()  # in lstmdata/data_handler.py of LSTMVis
        by_number[int(number)] = word
    with h5py.File(folder / config["files"]["words"]) as file:
        read = [by_number[n] for n in file[config["word_sequence"]["path"]][:]]
    assert read == ["a", "␣", "b␣c", "a", "d", "a", "é", "∅", "␣", "a"]
    counts = np.ones((3, 4), bool)
    counts[1, 2:] = False
    with h5py.File(folder / config["files"][config["states"]["file"]]) as file:
        for kind in config["states"]["types"]:
            layer, name = kind["path"].split("/")
            np.testing.assert_array_equal(file[kind["path"]], tree[layer][name].values[counts])
            assert kind.get("unsigned", False) == name.endswith("gates")
        assert {kind["path"] for kind in config["states"]["types"]} >= {
            "a/cell_states",
            "b/hidden_states",
        }


def test_a_trace_without_tokens(tmp_path) -> None:
    model = keras.Sequential([keras.Input((4, 3)), layers.LSTM(2, name="b")])
    with pytest.raises(ConveyorError, match="tokens="):
        to_lstmvis(trace(model, np.ones((1, 4, 3))), tmp_path / "x")
