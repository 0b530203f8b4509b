"""Texts to texts: what was asked for, in order, whatever the text."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conveyor import ConveyorError
from conveyor.seq2seq import Characters, Config, ModelConfig, Pair, Seq2Seq
from conveyor.seq2seq._folder import Folder
from conveyor.seq2seq._search import search
from conveyor.seq2seq._streaming import growing_text
from conveyor.seq2seq._subwords import Subwords
from conveyor.seq2seq._tokens import BEGIN, END
from conveyor.seq2seq._translator import Translator
from frameworks import to_numpy
from seq2seq.models import LETTERS, small

TEXTS = ["abc", "", "hgfedcba", "a", "  ", "ab☃\n\0", "\ud800a", "بتث"]
SHORT = {"max_length_ratio": 1.0, "max_length_extra": 4}
GREEDY = {"beam": 1, **SHORT}


def model_of(kind):
    """That ends what it writes now and then."""
    model = small(kind)
    bias = model.logit_bias if model.to_logits is None else model.to_logits.bias
    bias.assign(np.where(np.arange(LETTERS.size) == END, 3.0, to_numpy(bias)))
    return model


@pytest.fixture(scope="module")
def translator():
    return Translator(model_of("additive"))


def log_probabilities(model, source, target):
    """Of each token of the target and its end, by the model's own call; in float64."""
    inputs = {"source": np.array([source]), "target": np.array([[BEGIN, *target]])}
    logits = to_numpy(model(inputs))[0].astype("float64")
    logits -= np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    return logits[np.arange(len(target) + 1), [*target, END]]


@pytest.mark.parametrize("kind", ["general, 2 layers", "no attention", "all"])
def test_beams_of_each_kind_of_model(kind):
    model = model_of(kind)
    translator = Translator(model)
    together = translator.translate(TEXTS, n_best=3, beam=3, return_attention=True, **SHORT)
    by_itself = [
        translator.translate([text], n_best=3, beam=3, return_attention=True, **SHORT)[0]
        for text in TEXTS[:3]
    ]
    assert [[t.text for t in each] for each in by_itself] == [
        [t.text for t in each] for each in together[:3]
    ]
    assert any(t.finished and t.text for found in together for t in found)
    for text, found in zip(TEXTS, together, strict=True):
        source = LETTERS.encode(text)
        for t in found if text.strip() else []:
            tokens = LETTERS.encode(t.text)  # nothing unknown is written
            expected = log_probabilities(model, source, tokens)
            expected = expected if t.finished else expected[:-1]
            assert t.log_probability == pytest.approx(expected.sum(), rel=1e-4)
            assert (t.tokens, t.source) == (LETTERS.pieces(tokens), LETTERS.pieces(source))
            if kind == "no attention":
                assert t.attention is None
            else:
                assert t.attention.shape == (len(expected), len(source))
                np.testing.assert_allclose(t.attention.sum(axis=1), 1, rtol=1e-5)


def test_empty_lines_stay_empty(translator):
    texts = translator(TEXTS)
    assert [texts[1], texts[4]] == ["", ""]
    assert translator(TEXTS[::-1]) == texts[::-1]
    assert translator([]) == translator(iter([])) == []
    ((best,),) = translator.translate([""], n_best=1)
    assert (best.text, best.score, best.tokens, best.source) == ("", 0.0, [], [])


def test_lines_stream_in_order(translator, monkeypatch):
    monkeypatch.setattr("conveyor.seq2seq._translator._WINDOW", 4)
    drawn = {"sample": True, **SHORT}
    expected = translator.translate(TEXTS * 2, n_best=2, **drawn)
    read = []
    lines = (read.append(text) or text for text in TEXTS * 2)
    found = translator.translate_lines(lines, n_best=2, **drawn)
    assert read == []
    first = next(found)
    assert len(read) == 4  # no more than a window is held
    assert [[t.text for t in each] for each in [first, *found]] == [
        [t.text for t in each] for each in expected
    ]
    endless = translator.translate_lines(itertools.repeat("ab"), **GREEDY)
    assert next(endless)[0].text == next(endless)[0].text


def test_scores_are_those_of_the_model(translator):
    model = translator.models[0]
    pairs = [("abc", "cab"), Pair("h", ""), ("a" * 9, "b" * 40), ("", ""), (" ", "a")]
    found = translator.score(pairs, batch_tokens=30)
    for (source, target, *_), score in zip(pairs[:3], found, strict=False):
        tokens = LETTERS.encode(target)
        expected = log_probabilities(model, LETTERS.encode(source), tokens)
        np.testing.assert_allclose(score.token_log_probabilities, expected, rtol=1e-4, atol=1e-5)
        assert score.log_probability == pytest.approx(expected.sum(), rel=1e-5)
        assert score.per_token == pytest.approx(expected.mean(), rel=1e-5)
        assert score.perplexity == pytest.approx(np.exp(-expected.mean()), rel=1e-4)
        assert score.tokens == list(target)
    assert [score.log_probability for score in found[3:]] == [0.0, -math.inf]
    beams = translator.translate(TEXTS, n_best=6, beam=6, **SHORT)
    ended = {(a, t.text): t for a, b in zip(TEXTS, beams, strict=True) for t in b if t.finished}
    assert len([text for _, text in ended if text]) > 2
    for score, found in zip(translator.score(ended), ended.values(), strict=True):
        assert score.log_probability == pytest.approx(found.log_probability, rel=1e-4, abs=1e-6)


def test_an_ensemble_averages_probabilities(translator):
    other = model_of("dot")
    both = Translator([translator.models[0], other])
    pairs = [("abc", "cab"), ("fed", "")]
    for pair, score in zip(pairs, both.score(pairs), strict=True):
        source, target = map(LETTERS.encode, pair)
        every = [log_probabilities(model, source, target) for model in both.models]
        np.testing.assert_allclose(
            score.token_log_probabilities, np.log(np.exp(every).mean(axis=0)), rtol=1e-4
        )
    ((best,),) = both.translate(["abc"], n_best=1, **GREEDY)
    (score,) = both.score([("abc", best.text)])
    of_tokens = score.token_log_probabilities[: len(best.tokens) + best.finished]
    assert best.log_probability == pytest.approx(sum(of_tokens), rel=1e-4)


def test_settings_of_a_call(translator):
    beams = translator.translate(["abcdefgh"], n_best=1, beam=3, length_penalty=0.0, **SHORT)
    ((best,),) = beams
    assert best.score == best.log_probability
    for length, extra in ((1e-9, 1), (1e-9, 3)):
        ((best,),) = translator.translate(
            ["abc"], n_best=1, beam=1, max_length_ratio=length, max_length_extra=extra
        )
        assert len(best.tokens) <= extra
    drawn = [translator.translate(["abc"] * 9, sample=True, seed=seed) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert translator.translate(["abc"], beam=None) == translator(["abc"])


def test_a_stream_is_the_translation(translator):
    for text in TEXTS:
        pieces = list(translator.stream(text, **SHORT))
        assert "".join(pieces) == translator.translate([text], **GREEDY)[0]
        assert all(pieces)
    drawn = {"sample": True, "top_p": 0.9, "seed": 3, **SHORT}
    assert "".join(translator.stream("abc", **drawn)) == translator.translate(["abc"], **drawn)[0]


SUBWORDS = Subwords.from_texts(["low lower lowest", "ça va ▁"] * 9, size=300)


@settings(max_examples=100, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_a_stream_never_shows_half_a_character(text):
    tokens = SUBWORDS.encode(text)
    pieces = list(growing_text(SUBWORDS.decode, tokens))
    assert "".join(pieces) == SUBWORDS.decode(tokens) == text
    for piece in pieces:
        assert piece
        assert "\ufffd" not in piece.replace("\ufffd", "" if "\ufffd" in text else "\ufffd")


def test_a_stream_ends_with_what_never_became_whole():
    half = SUBWORDS.encode("a☃")[:-1]
    assert "".join(growing_text(SUBWORDS.decode, half)) == SUBWORDS.decode(half)
    assert SUBWORDS.decode(half).startswith("a\ufffd")


def test_a_saved_model_translates_the_same_in_a_new_process(translator, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    here = translator.translate(TEXTS, beam=3, **SHORT)  # which must not end up in the file
    translator.models[0].save(folder / "model.keras")
    program = (
        "import sys; from conveyor.seq2seq._translator import Translator\n"
        f"found = Translator.load(sys.argv[1]).translate({TEXTS!r}, beam=3, **{SHORT!r})\n"
        "print(ascii(found))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == ascii(here)
    pair = Translator.load(folder, folder / "model.keras")
    assert pair.translate(TEXTS, beam=3, **SHORT) == here
    assert pair.config == translator.config


def test_folders_without_a_model(tmp_path):
    def message(path):
        with pytest.raises(ConveyorError) as raised:
            Translator.load(path)
        return str(raised.value)

    assert "does not exist" in message(tmp_path / "nowhere")
    (tmp_path / "there").mkdir()
    assert "in which there is no model.keras, but nothing" in message(tmp_path / "there")
    Folder(tmp_path / "there").training.write_text("{}")
    assert f"--resume {tmp_path / 'there'}" in message(tmp_path / "there")
    cut_off = tmp_path / "there" / "model.keras"
    cut_off.write_bytes(b"PK\3\4half a model")
    assert "cut off" in message(tmp_path / "there")
    assert "In" in message(tmp_path / "their")
    assert "there is there." in message(tmp_path / "their")
    keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)]).save(cut_off)
    assert "a Sequential" in message(tmp_path / "there")


def test_models_of_different_vocabularies():
    sizes = ModelConfig(units=6, embedding_size=6, output_size=6)
    other = Seq2Seq(Characters("xyz"), Characters("xyz"), Config(model=sizes))
    with pytest.raises(ConveyorError, match=r"source vocabulary; got one of 12 .* number 2, .* 7"):
        Translator([small("dot"), other])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda t: t("abc"), r"Write translate\(\['abc'\]\)"),
        (lambda t: t(["abc", 3]), "3 as number 1"),
        (lambda t: t([b"abc"]), "b'abc' as number 0"),
        (lambda t: t(None), "None"),
        (lambda t: t.translate_lines("abc"), r"\['abc'\]"),
        (lambda t: t.translate_lines(["a"], n_best=9, beam=2), "beam=9, n_best=9"),
        (lambda t: t.stream(["abc"]), r"stream\(\"a text\"\)"),
        (lambda t: t.translate(["abc"], beem=2), "search.beam"),
        (lambda t: t.translate(["abc"], beam=0), "beam=0"),
        (lambda t: t.translate(["abc"], n_best=0), "n_best=1"),
        (lambda t: search(t.models, [[4], [12]]), r"from 1 to 11; got sources\[1\]=\[12\]"),
        (lambda t: t.score([("a",)]), "number 0"),
        (lambda t: t.score(["ab"]), "'ab' as number 0"),
        (lambda t: Translator([]), "Translator.load"),
        (lambda t: Translator([t]), "Translator.load"),
        (lambda t: Translator.load(), "none"),
    ],
)
def test_what_cannot_be_translated(translator, call, message):
    with pytest.raises(ConveyorError, match=message):
        call(translator)
