"""Text survives the way to ids and back, whatever it is made of."""

from __future__ import annotations

import copy
import json
import pickle
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conveyor import ConveyorError
from conveyor.seq2seq import Characters, Config, Pair, fold
from conveyor.seq2seq._config import TextConfig
from conveyor.seq2seq._subwords import Subwords
from conveyor.seq2seq._tokens import BEGIN, END, PADDING, UNKNOWN
from conveyor.seq2seq._vocabulary import Vocabulary, learn_vocabularies, vocabulary_from_dict
from conveyor.seq2seq._words import Words, split

pytestmark = pytest.mark.any_backend

PAIRS = [
    Pair("The cat sat on the mat.", "Le chat était assis sur le tapis."),
    Pair("Hello, world! 3.14", "Bonjour, le monde ! 3,14"),
    Pair("日本語 emoji 😀\n", "हिन्दी भाषा"),
]
KINDS = ("subwords", "characters", "words")
# Text as people never write it: halves of surrogate pairs, what sentencepiece uses for itself.
ODD = st.text(st.characters(exclude_categories=()) | st.sampled_from("▁\ufdd0\ufdd1 \n\0"))


@pytest.fixture(scope="module", params=["bpe", "unigram"])
def subwords(request):
    texts = [text for pair in PAIRS * 5 for text in pair[:2]]
    return Subwords.from_texts(texts, size=400, algorithm=request.param)


def learnt(tokens, **settings):
    return learn_vocabularies(PAIRS, TextConfig(tokens=tokens, vocabulary_size=500, **settings))


@given(text=st.text() | st.text(st.sampled_from("▁\ufdd0\ufdd1 \n\0the<>s/")))
def test_subwords_with_bytes_write_any_text(subwords, text):
    ids = subwords.encode(text)
    assert subwords.decode([BEGIN, *ids, END, 9, PADDING]) == text
    assert all(UNKNOWN < token < subwords.size for token in ids)
    assert len(subwords.pieces(ids)) == len(ids)


@pytest.mark.parametrize(
    "text",
    [
        "▁",
        "\ufdd0▁\ufdd1\ufdd0",
        "<s>",
        "</s><pad>",
        "<0x41>",
        "\x00\x1f\x7f",
        "  a  b ",
        "👩‍👩‍👧 مرحبا",
    ],
)
def test_subwords_write_what_looks_like_their_own_signs(subwords, text):
    assert subwords.decode(subwords.encode(text)) == text


@given(texts=st.lists(ODD, max_size=4), algorithm=st.sampled_from(["bpe", "unigram"]))
def test_subwords_are_learnt_from_anything(texts, algorithm):
    learnt = Subwords.from_texts(texts, size=2000, algorithm=algorithm)
    for text in texts:
        whole = "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in text)
        assert learnt.decode(learnt.encode(text)) == whole


@given(ODD)
def test_half_a_surrogate_pair_is_shown_as_unknown(text):
    whole = "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in text)
    for kind in KINDS:
        vocabulary, _ = learn_vocabularies([Pair(text, whole)], TextConfig(tokens=kind))
        assert vocabulary.decode(vocabulary.encode(whole)) == whole
        json.dumps(vocabulary.to_dict()).encode("utf-8")
        "".join(vocabulary.pieces(vocabulary.encode(text))).encode("utf-8")


def test_long_text_without_a_space_is_learnt_from():
    assert "▁" + "ab" * 4 in "".join(
        Subwords.from_texts(["ab" * 50_000], size=300).pieces(range(300 - 30))
    )


@given(st.text())
def test_split_words_joined_are_the_text(text):
    assert "".join(split(text)) == f" {text}"


def test_words_keep_their_accents_and_vowel_signs():
    assert list(split("e\u0301te\u0301, हिन्दी")) == [" e\u0301te\u0301", ",", " हिन्दी"]


@given(st.lists(st.text()))
def test_words_that_are_covered_come_back(texts):
    words = Words.from_texts(texts, size=10_000)
    for text in texts:
        assert words.decode([*words.encode(text), END, PADDING]) == text


def test_the_most_frequent_words_are_kept():
    words = Words.from_texts(["b b a a a c, c"], size=6)
    assert words.words == (" a", " b")
    assert words.decode(words.encode("a x b")) == "a \ufffd b"


@pytest.mark.parametrize("tokens", KINDS)
def test_the_protocol(tokens):
    source, target = learnt(tokens)
    assert source is target
    assert isinstance(source, Vocabulary)
    for pair in PAIRS:
        for text in pair[:2]:
            ids = source.encode(text)
            assert source.decode(np.array(ids)) == text
            assert len(source.pieces(np.array(ids))) == len(ids)
    assert source.pieces([PADDING, BEGIN, END, UNKNOWN]) == ["<pad>", "<s>", "</s>", "<unk>"]
    assert len(source.pieces(range(source.size))) == source.size
    assert source.size <= 500
    again = vocabulary_from_dict(json.loads(json.dumps(source.to_dict())))
    assert again == source
    assert again.encode("the cat 😀") == source.encode("the cat 😀")
    for copied in (copy.deepcopy(source), pickle.loads(pickle.dumps(source))):
        assert copied.encode("the cat") == source.encode("the cat")


@pytest.mark.parametrize("tokens", KINDS)
def test_learning_twice_gives_the_same(tokens):
    assert learnt(tokens)[0].to_dict() == learnt(tokens)[0].to_dict()


def test_unigram_learnt_twice_gives_the_same():
    texts = [f"{n} {pair.source}" for n in range(200) for pair in PAIRS]
    once, twice = (Subwords.from_texts(texts, size=400, algorithm="unigram") for _ in "12")
    assert once == twice


@pytest.mark.parametrize("tokens", KINDS)
def test_separate_vocabularies_know_their_side(tokens):
    source, target = learnt(tokens, shared=False, byte_fallback=False)
    assert UNKNOWN not in source.encode("cat")
    assert UNKNOWN in target.encode("w")
    assert UNKNOWN not in target.encode("était")
    assert UNKNOWN in source.encode("é")


@pytest.mark.parametrize("tokens", KINDS)
@pytest.mark.parametrize("shared", [True, False])
def test_only_sources_are_folded(tokens, shared):
    source, target = learnt(tokens, shared=shared, fold_source=True)
    assert source.decode(source.encode("THE  Cat")) == "the cat"
    assert target.decode(target.encode("Le chat")) == "Le chat"
    assert (source.folded, target.folded) == (True, False)
    if shared:  # one embedding serves both
        assert source.encode("cat") == target.encode(fold("cat"))


@pytest.mark.parametrize("tokens", KINDS)
def test_pairs_are_read_once(tokens):
    assert (
        learn_vocabularies(iter(PAIRS), TextConfig(tokens=tokens))[0]
        == (learn_vocabularies(PAIRS, TextConfig(tokens=tokens))[0])
    )


def test_no_pairs():
    with pytest.raises(ConveyorError, match="pairs to learn from"):
        learn_vocabularies([], TextConfig())


def test_no_room_for_characters_and_bytes():
    with pytest.raises(ConveyorError, match=r"vocabulary_size of at least \d+.*256 bytes"):
        learn_vocabularies(PAIRS, TextConfig(vocabulary_size=100))
    with pytest.raises(ConveyorError, match="vocabulary_size=5"):
        learn_vocabularies(PAIRS, TextConfig(vocabulary_size=5, byte_fallback=False))


def test_without_bytes_the_rare_is_unknown():
    vocabulary, _ = learnt("subwords", byte_fallback=False)
    assert UNKNOWN in vocabulary.encode("ж")
    assert "\ufffd" in vocabulary.decode(vocabulary.encode("cat ж"))


@pytest.mark.parametrize(
    "wrong",
    [{}, {"kind": "syllables"}, {"kind": "words"}, {"kind": "subwords", "model": "!", "folded": 0}],
)
def test_no_vocabulary(wrong):
    with pytest.raises(ConveyorError, match="vocabulary_from_dict expects"):
        vocabulary_from_dict(wrong)


def test_without_sentencepiece_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    with pytest.raises(ImportError, match=r'pip install "conveyor\[seq2seq\]"'):
        learn_vocabularies(PAIRS, Config().text)


def test_alphabets_of_characters_have_an_order():
    assert learn_vocabularies([Pair("ba", "c")], TextConfig(tokens="characters"))[0] == (
        Characters("abc")
    )
