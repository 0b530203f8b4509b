"""Encoded pairs are those of the corpus, in memory and on disk; half a folder is none."""

from __future__ import annotations

import gzip
import os
import tracemalloc

import numpy as np
import pytest

from conveyor import ConveyorError
from conveyor.seq2seq import Characters, Pair
from conveyor.seq2seq import _encoded as encoded_module
from conveyor.seq2seq._config import DataConfig
from conveyor.seq2seq._corpus import read_pairs
from conveyor.seq2seq._encoded import encode_pairs

pytestmark = pytest.mark.any_backend

LETTERS = Characters("abcdefghij")
CONFIG = DataConfig(max_source_tokens=6, max_target_tokens=5)
PAIRS = [
    Pair("abc", "cb"),
    Pair("a" * 7, "b"),
    Pair("j", "a"),
    Pair("a", "b" * 6),
    Pair("", "b"),
    Pair("a" * 6, "b" * 5),
    Pair("b", ""),
]
KEPT = [PAIRS[n] for n in (0, 2, 5)]


@pytest.fixture
def corpus(tmp_path):
    file = tmp_path / "pairs.tsv"
    file.write_text("".join(f"{pair.source}\t{pair.target}\n" for pair in PAIRS))
    return read_pairs(file)


def texts(encoded):
    return [
        Pair(LETTERS.decode(encoded.source.of(n)), LETTERS.decode(encoded.target.of(n)))
        for n in range(len(encoded))
    ]


def test_in_memory(corpus):
    encoded = encode_pairs(PAIRS, LETTERS, LETTERS, CONFIG)
    assert texts(encoded) == KEPT
    assert encoded.source.lengths.tolist() == [3, 1, 6]
    assert encoded.target.lengths.tolist() == [2, 1, 5]
    assert encoded.report.to_dict() == {
        "pairs": 3,
        "problems": {
            "a source of more than 6 tokens": [1, ["pair 2"]],
            "a target of more than 5 tokens": [1, ["pair 4"]],
            "a source without tokens": [1, ["pair 5"]],
            "a target without tokens": [1, ["pair 7"]],
        },
    }


@pytest.mark.parametrize("of_tokens", [1, 1_000_000])
def test_on_disk_is_as_in_memory(corpus, tmp_path, monkeypatch, of_tokens):
    monkeypatch.setattr(encoded_module, "_FLUSH", of_tokens)
    memory = encode_pairs(PAIRS, LETTERS, LETTERS, CONFIG)
    disk = encode_pairs(corpus, LETTERS, LETTERS, CONFIG, tmp_path / "deep" / "data")
    for ours, theirs in ((disk.source, memory.source), (disk.target, memory.target)):
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(one, other)
    assert texts(disk) == KEPT
    assert disk.report.problems["an empty source"].places == ["pairs.tsv:5"]
    if of_tokens > 1:
        assert disk.digest == memory.digest


def test_more_than_65536_ids(tmp_path):
    many = Characters("".join(map(chr, range(0x10000, 0x10000 + 70_000))))
    pair = Pair(many.alphabet[-1], many.alphabet[0])
    disk = encode_pairs([pair], many, many, CONFIG, tmp_path / "data")
    assert disk.source.of(0) == [70_003]
    assert many.decode(disk.target.of(0)) == pair.target


def test_tokens_are_not_held_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(encoded_module, "_FLUSH", 1000)
    file = tmp_path / "long.tsv.gz"
    with gzip.open(file, "wt") as lines:
        lines.writelines("abcdefghij" * 10 + "\t" + "ja" * 50 + "\n" for _ in range(5000))
    tracemalloc.start()
    try:
        encoded = encode_pairs(read_pairs(file), LETTERS, LETTERS, DataConfig(), tmp_path / "data")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    bytes_of_tokens = 2 * int(encoded.source.lengths.sum() + encoded.target.lengths.sum())
    assert bytes_of_tokens == 2_000_000
    assert peak < bytes_of_tokens / 4


@pytest.fixture
def counted(monkeypatch):
    """How often pairs were encoded."""
    calls = []
    encode = encoded_module._encode
    monkeypatch.setattr(
        encoded_module, "_encode", lambda *args: calls.append(args) or encode(*args)
    )
    return calls


def test_the_same_is_not_encoded_again(corpus, tmp_path, counted):
    data = tmp_path / "data"
    first = encode_pairs(corpus, LETTERS, LETTERS, CONFIG, data)
    again = encode_pairs(corpus, LETTERS, LETTERS, CONFIG, data)
    assert len(counted) == 1
    assert texts(again) == KEPT
    assert again.digest == first.digest
    assert str(again.report) == str(first.report)


@pytest.mark.parametrize("changed", ["corpus", "vocabulary", "settings", "list"])
def test_anything_else_is(corpus, tmp_path, counted, changed):
    data = tmp_path / "data"
    first = encode_pairs(corpus, LETTERS, LETTERS, CONFIG, data)
    pairs, vocabulary, config = corpus, LETTERS, CONFIG
    if changed == "corpus":
        (tmp_path / "pairs.tsv").write_text("c\td\n")
    elif changed == "vocabulary":
        vocabulary = Characters("jihgfedcba")
    elif changed == "settings":
        config = DataConfig(max_source_tokens=6, max_target_tokens=4)
    else:
        pairs = PAIRS[:1]  # of which nothing tells whether it is the same
    again = encode_pairs(pairs, vocabulary, vocabulary, config, data)
    assert len(counted) == 2
    assert again.digest != first.digest
    assert len(again) == {"corpus": 1, "vocabulary": 3, "settings": 2, "list": 1}[changed]


@pytest.mark.parametrize("name", ["meta.json", "source.tokens", "target.lengths"])
@pytest.mark.parametrize("size", [None, 0, 1])
def test_a_folder_that_is_not_whole_is_not_used(corpus, tmp_path, counted, name, size):
    data = tmp_path / "data"
    encode_pairs(corpus, LETTERS, LETTERS, CONFIG, data)
    if size is None:
        os.unlink(data / name)
    else:
        os.truncate(data / name, size)
    assert texts(encode_pairs(corpus, LETTERS, LETTERS, CONFIG, data)) == KEPT
    assert len(counted) == 2


def test_what_breaks_off_leaves_what_was_there(corpus, tmp_path):
    data = tmp_path / "data"
    encode_pairs(corpus, LETTERS, LETTERS, CONFIG, data)

    def interrupted():
        yield PAIRS[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encode_pairs(interrupted(), LETTERS, LETTERS, CONFIG, data)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "pairs.tsv"]
    assert texts(encode_pairs(corpus, LETTERS, LETTERS, CONFIG, data)) == KEPT


def test_what_a_killed_process_left_is_cleared(corpus, tmp_path):
    (tmp_path / "data.partial").mkdir()
    (tmp_path / "data.partial" / "meta.json").write_text("{}")
    assert texts(encode_pairs(corpus, LETTERS, LETTERS, CONFIG, tmp_path / "data")) == KEPT
    assert not (tmp_path / "data.partial").exists()


def test_no_pair_left():
    with pytest.raises(ConveyorError, match=r"none left \(a source of more than 6 tokens: 1"):
        encode_pairs([PAIRS[1]], LETTERS, LETTERS, CONFIG)
    with pytest.raises(ConveyorError, match="got none in the pairs given"):
        encode_pairs([], LETTERS, LETTERS, CONFIG)
