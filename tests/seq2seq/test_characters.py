"""Text survives the way to ids and back."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conveyor import ConveyorError
from conveyor.seq2seq import Characters, fold
from conveyor.seq2seq._tokens import BEGIN, END, PADDING, UNKNOWN

pytestmark = pytest.mark.any_backend


@given(st.lists(st.text()))
def test_round_trip(texts):
    characters = Characters.from_texts(texts)
    for text in texts:
        assert characters.decode([*characters.encode(text), END, PADDING]) == text


@given(st.lists(st.text()))
def test_folded_round_trip(texts):
    characters = Characters.from_texts(texts, folded=True)
    for text in texts:
        assert characters.decode(characters.encode(text)) == fold(text)


@given(st.text(), st.text())
def test_ids_are_within_the_vocabulary_and_never_special(known, text):
    characters = Characters.from_texts([known])
    ids = characters.encode(text)
    assert len(ids) == len(text)
    assert all(UNKNOWN <= token < characters.size for token in ids)
    assert not {PADDING, BEGIN, END} & set(ids)


@given(st.text(), st.booleans())
def test_written_as_json_and_read_back(text, folded):
    characters = Characters.from_texts([text], folded=folded)
    assert Characters.from_dict(json.loads(json.dumps(characters.to_dict()))) == characters


def test_unknown_is_shown_and_special_ids_are_not():
    characters = Characters("ab")
    assert characters.decode([BEGIN, *characters.encode("axb"), PADDING, END, 4]) == "a\ufffdb"


def test_folding_forgets_what_readers_overlook():
    assert fold("  4\u202fMARS\u00a0２０２５ ") == "4 mars 2025"
    assert fold("٠٤\u200f/٠٣\u200f/٢٠٢٥") == "٠٤/٠٣/٢٠٢٥"
    assert fold("İstanbul") == fold("i̇stanbul")


@given(st.text())
def test_folding_twice_is_folding_once(text):
    assert fold(fold(text)) == fold(text)


def test_an_alphabet_has_every_character_once():
    with pytest.raises(ConveyorError, match="3 characters, 2 of them different"):
        Characters("aba")
