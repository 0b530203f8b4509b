"""Dialogues become prompts and responses, with the turns before them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conveyor import ConveyorError
from conveyor.seq2seq import Pair
from conveyor.seq2seq._config import DataConfig, TextConfig
from conveyor.seq2seq._dialogues import SEPARATOR, join_turns, read_chatterbot, read_dialogues
from conveyor.seq2seq._given import are_of_dialogues
from conveyor.seq2seq._open import read_corpus
from conveyor.seq2seq._vocabulary import learn_vocabularies

pytestmark = pytest.mark.any_backend

TALK = ["Hi!", "Hello.", "How are you?", "Fine."]
CONTENTS = {
    "talk.tsv": "Hi!\tHello.\tHow are you?\tFine.\nYes\t22\n",
    "talk.jsonl": '{"turns": ["Hi!", "Hello.", "How are you?", "Fine."]}\n{"turns": ["Yes", "22"]}',
    "talk.yml": (
        "categories: [x]\nconversations:\n"
        "- - Hi!\n  - Hello.\n  - How are\n    you?\n  - Fine.\n- - Yes\n  - 22\n"
    ),
}


@pytest.mark.parametrize("name", CONTENTS)
@pytest.mark.parametrize("history", [0, 1, 2, 9])
def test_each_turn_answers_those_before_it(tmp_path, name, history):
    (tmp_path / name).write_text(CONTENTS[name])
    pairs = list(read_dialogues(tmp_path / name, history=history))
    expected = [
        Pair(SEPARATOR.join(TALK[max(0, n - 1 - history) : n]), TALK[n], ("talk",))
        for n in range(1, 4)
    ]
    assert pairs == [*expected, Pair("Yes", "22", ("talk",))]


def test_several_files_and_their_tags(tmp_path):
    for name, content in CONTENTS.items():
        (tmp_path / name.replace("talk", name.split(".")[1])).write_text(content)
    pairs = list(read_dialogues(tmp_path / "tsv.tsv", tmp_path / "yml.yml"))
    assert [pair.tags for pair in pairs] == [("tsv",)] * 4 + [("yml",)] * 4


def test_mixed_dialogues_ask_again_after_other_turns(tmp_path):
    talks = [[f"{n}{turn}" for turn in "abcd"[: 2 + n % 3]] for n in range(9)]
    (tmp_path / "t.tsv").write_text("".join("\t".join(turns) + "\n" for turns in talks))
    plain = list(read_dialogues(tmp_path / "t.tsv"))
    corpus = read_dialogues(tmp_path / "t.tsv", mix=True)
    mixed = list(corpus)
    assert list(corpus) == mixed  # the same each time
    assert corpus.report.pairs == len(mixed) == len(plain) + 8
    assert [pair for pair in mixed if pair in plain] == plain
    ends = {join_turns(turns, 1): number for number, turns in enumerate(talks)}
    for pair in set(mixed) - set(plain):
        other, prompt = pair.source.rsplit(SEPARATOR, 1)
        number = int(prompt[0])
        assert (prompt, pair.target) == tuple(talks[number][:2])
        assert ends[other] < number
    assert list(read_dialogues(tmp_path / "t.tsv", mix=True, history=0)) == [
        Pair(turns[n - 1], turns[n], ("t",)) for turns in talks for n in range(1, len(turns))
    ]


@given(st.lists(st.text(min_size=1), min_size=1, max_size=5), st.integers(0, 3))
def test_a_prompt_is_one_line_and_its_turns_can_be_told_apart(turns, history):
    prompt = join_turns(turns, history)
    assert len(prompt.splitlines()) <= 1
    assert len(prompt.split("␞")) == min(len(turns), history + 1)


def test_turns_keep_what_is_no_break():
    assert (
        join_turns(["a\n\n b\tc ␞ d", " Ça va\u00a0?  Oui. "], 1) == "a b c d ␞ Ça va\u00a0?  Oui."
    )


@pytest.mark.parametrize("tokens", ["subwords", "characters", "words"])
def test_the_vocabulary_knows_the_separator(tmp_path, tokens):
    (tmp_path / "talk.tsv").write_text(CONTENTS["talk.tsv"] * 3)
    config = TextConfig(tokens=tokens, vocabulary_size=400)
    vocabulary, _ = learn_vocabularies(read_dialogues(tmp_path / "talk.tsv"), config)
    assert len(vocabulary.encode(SEPARATOR.strip())) <= 2
    prompt = join_turns(TALK, 3)
    assert vocabulary.decode(vocabulary.encode(prompt)) == prompt


def test_what_is_no_dialogue_is_counted(tmp_path):
    yaml = (
        "conversations:\n- - Hi\n  - Hello\n- one text\n- - alone\n- - a\n  - [b]\n- - a\n  - ''\n"
    )
    (tmp_path / "t.yml").write_text(yaml)
    (tmp_path / "t.tsv").write_text("a\tb\nalone\na\t\tb\n")
    (tmp_path / "t.jsonl").write_text('{"turns": ["a", 1]}\nnull\n{"turns": ["a", "b"]}\n')
    corpus = read_dialogues(*(tmp_path / name for name in ("t.yml", "t.tsv", "t.jsonl")))
    assert [pair[:2] for pair in corpus] == [("Hi", "Hello"), ("a", "b"), ("a", "b")]
    assert {kind: p.places for kind, p in corpus.report.problems.items()} == {
        "no list of turns": ["t.yml:4", "t.yml:6"],
        "fewer than two turns": ["t.yml:5", "t.tsv:2"],
        "an empty turn": ["t.yml:8", "t.tsv:3"],
        'no list of texts named "turns"': ["t.jsonl:1", "t.jsonl:2"],
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("conversations: [", "t.yml"),
        ("conversations: 3", "no list of conversations"),
        ("", "no list of conversations"),
        (b"- - \xff\n  - a", "YAML of conversations"),
    ],
)
def test_yaml_that_holds_no_dialogue(tmp_path, content, message):
    (tmp_path / "t.yml").write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(ConveyorError, match=message):
        list(read_dialogues(tmp_path / "t.yml"))


def test_what_a_name_on_the_command_line_stands_for(tmp_path):
    for name, content in CONTENTS.items():
        (tmp_path / name).write_text(content)
    config = DataConfig(history=0, bad_lines="refuse")
    with pytest.raises(ConveyorError, match=r"not two columns at talk\.tsv:1: 4"):
        list(read_corpus(tmp_path / "talk.tsv", config=config))
    expected = list(read_dialogues(tmp_path / "talk.tsv", history=0))
    assert list(read_corpus(tmp_path / "talk.tsv", config=config, dialogues=True)) == expected
    assert list(read_corpus(tmp_path / "talk.yml", config=config)) == expected
    (tmp_path / "a.jsonl").write_text('{"en": "one", "fr": "un"}')
    assert [pair.target for pair in read_corpus(tmp_path / "a.jsonl", languages=("en", "fr"))] == [
        "un"
    ]
    with pytest.raises(ConveyorError, match="nothing there"):
        read_corpus(tmp_path / "chatterbot:english")
    with pytest.raises(ConveyorError, match="read_pairs expects"):
        read_corpus()


def test_dialogues_are_known_before_they_are_read(tmp_path):
    (tmp_path / "talk.tsv").write_text(CONTENTS["talk.tsv"])
    assert are_of_dialogues(read_dialogues(tmp_path / "talk.tsv"))
    assert are_of_dialogues("chatterbot:english")
    assert are_of_dialogues(Path("talk.yml"))
    assert not are_of_dialogues(tmp_path / "talk.tsv")
    assert not are_of_dialogues([Pair("a", "b")])
    assert not are_of_dialogues(read_corpus(tmp_path / "talk.tsv"))


def test_other_formats(tmp_path):
    (tmp_path / "t.tmx").write_text("<tmx/>")
    with pytest.raises(ConveyorError, match=r"\.tsv, \.jsonl, \.yml, \.yaml"):
        read_dialogues(tmp_path / "t.tmx")


def test_chatterbot_corpus():
    pytest.importorskip("chatterbot_corpus", reason="the extra chatterbot is not installed")
    corpus = read_chatterbot("english")
    pairs = list(corpus)
    assert len(pairs) > 1000
    assert Pair("Hello", "Hi", ("greetings",)) in pairs
    assert any(SEPARATOR in pair.source for pair in pairs)
    assert {"greetings", "humor", "science"} <= {pair.tags[0] for pair in pairs}
    assert corpus.report.left_out < 5
    assert {pair.tags for pair in read_chatterbot("french", "conversations")} == {
        ("conversations",)
    }
    named = read_corpus("chatterbot:english/greetings,humor")
    assert {pair.tags[0] for pair in named} == {"greetings", "humor"}
    with pytest.raises(ConveyorError, match="klingon"):
        read_chatterbot("klingon")
    with pytest.raises(ConveyorError, match=r"Write one of .*greetings"):
        read_chatterbot("english", "greeting")


def test_without_chatterbot_corpus_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "chatterbot_corpus", None)
    with pytest.raises(ImportError, match=r'pip install "conveyor\[chatterbot\]"'):
        read_chatterbot()
