"""A translator in ONNX Runtime alone writes what `Translator` writes, greedily."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conveyor import ConveyorError, Translator
from conveyor.onnx import _export_translator, export, export_translator
from conveyor.onnx import _translate as script
from conveyor.seq2seq import Characters, Config, ModelConfig, Seq2Seq, Subwords, Words
from frameworks import to_numpy
from seq2seq.models import KINDS, LETTERS, small

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

TEXTS = ["abc", "", "hgfedcba", "b", "a?b", "  ", "aaaaaaaaaa", "cab"]
FILES = ["decoder_step.onnx", "encoder.onnx", "translate.py", "translator.json"]


def talkative(kind):
    """A model that writes several texts for `TEXTS`, and these."""
    model = small(kind)
    for seed in range(50):
        rng = np.random.default_rng(seed)
        model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
        written = Translator(model).translate(TEXTS, beam=1)
        if len(set(written)) > 3:
            return model, written
    raise AssertionError("another scale of weights is wanted")


@pytest.mark.parametrize("kind", KINDS)
def test_what_it_writes(kind, tmp_path):
    model, wanted = talkative(kind)
    path = export_translator(Translator(model), tmp_path / "new", verbose=False)
    alone = script.Translator(path)
    assert alone(TEXTS) == wanted
    assert [alone([text])[0] for text in TEXTS] == wanted
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == FILES


@pytest.mark.parametrize(
    ("kind", "opset"), [("general, 2 layers", 14), ("all", onnx.defs.onnx_opset_version())]
)
def test_attention_of_a_step(kind, opset, tmp_path):
    model = small(kind)
    alone = script.Translator(export_translator(model, tmp_path, opset=opset, verbose=False))
    source = np.array([[5, 6, 7], [4, 0, 0]])
    read = script.run(alone.encoder, {"source": source})
    made = script.run(alone.step, {"tokens": np.array([1, 5]), **read})
    memory, state = model.begin(source.astype("int32"))
    logits, _, attention = model.step(np.array([1, 5], "int32"), memory, state)
    for name, value in (("logits", logits), ("attention", attention)):
        np.testing.assert_allclose(made[name], to_numpy(value), atol=1e-5)
    assert made["attention"][1].tolist() == [1, 0, 0]


@pytest.mark.parametrize("ngram", [1, 2, 3])
def test_settings_of_the_search(ngram, tmp_path):
    model = small("dot")
    model.config = model.config.with_settings(
        {
            "search.no_repeat_ngram": ngram,
            "search.max_length_ratio": 1.5,
            "search.max_length_extra": 3,
        }
    )
    alone = script.Translator(export_translator(model, tmp_path, verbose=False))
    wanted = Translator(model).translate(TEXTS, beam=1)
    assert alone(TEXTS) == wanted
    assert wanted != Translator(small("dot")).translate(TEXTS, beam=1)


SENTENCES = [
    "Ein Haus, ein ▁Baum!",
    "Ｅin   HAUS\u202f…",
    "e\u0301te\u0301 \ufdd0\ufdd1 ☃",
    "\udce9",
]
VOCABULARIES = {
    "subwords": Subwords.from_texts(SENTENCES[:2] * 20, size=320),
    "subwords, folded": Subwords.from_texts(SENTENCES[:2] * 20, size=320, folded=True),
    "subwords without bytes": Subwords.from_texts(
        SENTENCES[:2] * 20, size=60, byte_fallback=False, algorithm="unigram"
    ),
    "words": Words.from_counts(
        Counter({" Ein": 1, " Haus": 2, ",": 3, "!": 1, " e\u0301te": 1}), size=40
    ),
    "words, folded": Words.from_texts(SENTENCES, size=40, folded=True),
    "characters": Characters("Ein Hausb"),
    "characters, folded": Characters("ein haus▁", folded=True),
}


@functools.cache
def alone(name):
    return script.vocabulary(VOCABULARIES[name].to_dict())


@pytest.mark.any_backend
@pytest.mark.parametrize("name", VOCABULARIES)
@given(text=st.text() | st.sampled_from(SENTENCES) | st.text("eEin hausHAUS▁\ufdd0\ufdd1\u0301,!"))
def test_vocabularies(name, text):
    ours, theirs = VOCABULARIES[name], alone(name)
    ids = ours.encode(text)
    assert theirs.encode(text) == ids
    assert theirs.decode(ids) == ours.decode(ids)


def test_the_script_without_conveyor_and_keras(tmp_path):
    words = Words.from_texts(SENTENCES, size=30)
    sizes = {"units": 6, "embedding_size": 6, "output_size": 6}
    model = Seq2Seq(words, words, Config(model=ModelConfig(**sizes)))
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
    export_translator(model, tmp_path / "it", verbose=False)
    (tmp_path / "nowhere").mkdir()
    for name in ("keras", "conveyor", "jax", "torch", "tensorflow"):
        (tmp_path / "nowhere" / f"{name}.py").write_text("raise ImportError('not here')")
    lines = [*SENTENCES[:3], "", "Haus"] * 20
    run = subprocess.run(
        [sys.executable, tmp_path / "it" / "translate.py", "--batch", "7"],
        input="\n".join(lines).encode(),
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "nowhere")},
    )
    found = run.stdout.decode().split("\n")[:-1]
    wanted = Translator(model).translate(lines, beam=1)
    assert found == [" ".join(text.split("\n")) for text in wanted]
    assert len(set(found)) > 2


def test_a_model_in_16_bits_is_exported_in_32(tmp_path):
    model = small("general, 2 layers")
    half = Seq2Seq.from_config({**model.get_config(), "dtype": "mixed_bfloat16"})
    half.set_weights(model.get_weights())
    alone = script.Translator(export_translator(half, tmp_path, verbose=False))
    assert alone(TEXTS) == Translator(model).translate(TEXTS, beam=1)


def test_numbers_that_differ_are_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(
        _export_translator, "encoder_graph", lambda build, model: graph(build, small("dot"))
    )
    with pytest.raises(ConveyorError, match="nothing was written"):
        export_translator(small("dot", bridge="last"), tmp_path / "it")
    assert not list(tmp_path.iterdir())


graph = _export_translator.encoder_graph


def test_what_is_no_translator_of_one_model(tmp_path):
    with pytest.raises(ConveyorError, match="an ensemble of 2"):
        export_translator(Translator([small("dot"), small("dot")]), tmp_path / "it")
    with pytest.raises(ConveyorError, match=r'Translator\.load\("model/"\)'):
        export_translator("model/", tmp_path / "it")
    with pytest.raises(ConveyorError, match=r"from 14"):
        export_translator(small("dot"), tmp_path / "it", opset=9)
    with pytest.raises(ConveyorError, match="export_translator"):
        export(small("dot"), tmp_path / "it.onnx")
    model = small("dot")
    model.config = Config(model=ModelConfig(attention="dot"))
    object.__setattr__(model.config.model, "attention", "cosine")
    with pytest.raises(ConveyorError, match='"attention", cosine'):
        export_translator(model, tmp_path / "it")
    assert not list(tmp_path.iterdir())
    assert LETTERS.size == 12
