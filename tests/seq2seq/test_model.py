"""A translator in a file is the same translator."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys

import numpy as np
import pytest

from conveyor import ConveyorError
from conveyor.seq2seq import Config, Pair, Translator

TEXTS = ["mardi 4 mars 2025", "4 Mars", "", "2025年3月4日", "x" * 50]
PAIRS = [Pair("mardi 4 mars 2025年月日", "2025-03-04"), Pair("x 1", "1967-89")]


@pytest.fixture(scope="module")
def translator():
    config = Config(units=16, embedding_size=8, max_target_length=12)
    translator = Translator.for_pairs(PAIRS, config)
    rng = np.random.default_rng(0)
    for weight in translator.weights:
        weight.assign(rng.normal(size=weight.shape))
    return translator


def test_a_new_process_translates_the_same_after_import_conveyor_alone(translator, tmp_path):
    path = tmp_path / "dates.keras"
    translator.save(path)
    program = (
        "import json, sys, keras, conveyor\n"
        "model = keras.saving.load_model(sys.argv[1])\n"
        "print(json.dumps(model.translate(json.loads(sys.argv[2]))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path), json.dumps(TEXTS)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    here = translator.translate(TEXTS)
    assert json.loads(done.stdout.splitlines()[-1]) == here
    assert len(set(here)) > 1


def test_config_names_every_argument(translator):
    arguments = set(inspect.signature(Translator.__init__).parameters) - {"self", "kwargs"}
    config = translator.get_config()
    assert arguments <= set(config)
    json.dumps(config)
    again = Translator.from_config(config)
    assert (again.source, again.target) == (translator.source, translator.target)
    assert again.config == translator.config


def test_order_and_company_change_nothing(translator):
    together = translator.translate(TEXTS)
    assert translator.translate(TEXTS[::-1]) == together[::-1]
    assert translator.translate(TEXTS, batch_size=1) == together


def test_case_is_overlooked_and_strangers_are_read(translator):
    assert translator.translate(["MARDI 4\u00a0MARS"]) == translator.translate(["mardi 4 mars"])
    assert translator.translate(["mardi 4 ☃"]) == translator.translate(["mardi 4 ☂"])


def test_no_texts(translator):
    assert translator.translate([]) == []


def test_one_text_is_not_several(translator):
    with pytest.raises(ConveyorError, match=r"Write translate\(\['4 mars'\]\)"):
        translator.translate("4 mars")


def test_layers_are_named(translator):
    assert [layer.name for layer in translator.layers] == ["encoder", "decoder"]
    paths = {weight.path for weight in translator.weights}
    assert any(path.endswith("encoder/lstm/lstm_cell/kernel") for path in paths), paths
