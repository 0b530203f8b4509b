"""Corpora of every format give their pairs; what is no pair is told by its line."""

from __future__ import annotations

import gzip
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from conveyor import ConveyorError
from conveyor.seq2seq import Pair
from conveyor.seq2seq import _lines as lines_module
from conveyor.seq2seq._corpus import read_pairs
from conveyor.seq2seq._dialogues import read_dialogues

pytestmark = pytest.mark.any_backend

TMX = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE tmx SYSTEM "tmx14.dtd">
<tmx version="1.4">
<header srclang="en" adminlang="en" segtype="sentence"/>
<body>
{}
</body>
</tmx>
"""


def unit(**texts):
    tuvs = "".join(
        f'<tuv xml:lang="{language.replace("_", "-")}"><seg>{text}</seg></tuv>'
        for language, text in texts.items()
    )
    return f"<tu>{tuvs}</tu>"


@pytest.fixture
def write(tmp_path):
    def write(name, content):
        content = content.encode() if isinstance(content, str) else content
        (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
        return tmp_path / name

    return write


def told(corpus):
    return {kind: (p.count, p.places) for kind, p in corpus.report.problems.items()}


ONE_TWO = [Pair("one", "un"), Pair("two 😀", "deux")]


@pytest.mark.parametrize("end", ["", ".gz"])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.tsv", "one\tun\ntwo 😀\tdeux\n"),
        ("a.tsv", "\ufeffone\tun\r\n two 😀 \tdeux"),
        (
            "a.jsonl",
            '{"source": "one", "target": "un"}\n{"target": "deux", "source": "two \\ud83d\\ude00"}',
        ),
        ("a.tmx", TMX.format(unit(en="one", fr="un") + unit(fr="deux", en_GB="two 😀"))),
    ],
)
def test_the_same_pairs_of_each_format(write, name, content, end):
    corpus = read_pairs(write(name + end, content))
    assert list(corpus) == ONE_TWO
    assert list(corpus) == ONE_TWO  # read anew
    assert (corpus.report.pairs, corpus.report.problems) == (2, {})


def test_two_parallel_files(write):
    files = write("c.en", "one\ntwo 😀\n"), write("c.fr.gz", "un\ndeux\n")
    assert list(read_pairs(*files)) == ONE_TWO


def test_gzip_is_known_by_its_bytes(write):
    assert list(read_pairs(write("a.tsv", gzip.compress(b"one\tun\n")))) == ONE_TWO[:1]


def test_only_line_feeds_end_lines(write):
    (pair,) = read_pairs(write("a.tsv", "one\u2028\x0b\x85two\tun\n"))
    assert pair.source == "one\u2028\x0b\x85two"


def test_bad_lines_of_tsv_are_counted_where_they_are(write):
    lines = [b"one\tun", b"caf\xe9\tx", b"alone", b"a\tb\tc", b"", b"\tb", b"a\t \x20", b"d\te"]
    corpus = read_pairs(write("a.tsv.gz", b"\n".join(lines)))
    assert list(corpus) == [Pair("one", "un"), Pair("d", "e")]
    assert told(corpus) == {
        "not UTF-8": (1, ["a.tsv.gz:2"]),
        "not two columns": (3, ["a.tsv.gz:3", "a.tsv.gz:4", "a.tsv.gz:5"]),
        "an empty source": (1, ["a.tsv.gz:6"]),
        "an empty target": (1, ["a.tsv.gz:7"]),
    }
    assert corpus.report.left_out == 6


def test_few_places_are_shown_and_all_are_counted(write):
    corpus = read_pairs(write("a.tsv", "bad\n" * 1000 + "a\tb\n"))
    list(corpus)
    assert str(corpus.report) == (
        "1 pairs; left out: not two columns: 1,000 "
        "(a.tsv:1, a.tsv:2, a.tsv:3, a.tsv:4, a.tsv:5, ...)"
    )


@pytest.mark.parametrize(
    ("name", "line", "message"),
    [
        ("a.tsv", b"\xff\tb", r"not UTF-8 at a.tsv:2: byte 0 is 0xff"),
        ("a.tsv", b"a", r"not two columns at a.tsv:2: 1"),
        ("a.jsonl", b"{", r"broken JSON at a.jsonl:2: Expecting"),
        ("a.jsonl", b'{"en": "x"}', r"no texts named 'source' and 'target' at a.jsonl:2.*'en'"),
        ("a.jsonl", b"null", r"no texts named .* at a.jsonl:2"),
        ("a.jsonl", b"[" * 100_000, r"broken JSON at a.jsonl:2: .*recursion"),
        ("a.jsonl", b'{"source": "\\ud800", "target": "b"}', "half a surrogate pair at a.jsonl:2"),
        ("a.jsonl", b'{"source": "a", "target": "b", "tags": "c"}', "tags that are no list"),
    ],
)
def test_bad_lines_are_refused_if_asked(write, name, line, message):
    good = b"a\tb" if name == "a.tsv" else b'{"source": "a", "target": "b", "tags": ["t"]}'
    file = write(name, b"\n".join([good, line, good]))
    with pytest.raises(ConveyorError, match=message):
        list(read_pairs(file, bad_lines="refuse"))
    corpus = read_pairs(file)
    assert len(list(corpus)) == 2
    assert corpus.report.left_out == 1


def test_files_of_unequal_length(write):
    ours, theirs = write("c.en", "one\n\xe9\ntwo\n"), write("c.fr", b"un\n\xe9\ndeux\ntrois\n\n")
    corpus = read_pairs(ours, theirs)
    assert list(corpus) == [Pair("one", "un"), Pair("two", "deux")]
    assert told(corpus) == {
        "not UTF-8": (1, ["c.fr:2"]),
        "a line that the other file lacks": (2, ["c.fr:4", "c.fr:5"]),
    }
    with pytest.raises(ConveyorError, match=r"c\.fr:2"):
        list(read_pairs(ours, theirs, bad_lines="refuse"))


def test_endless_lines_are_not_taken_into_memory(write, monkeypatch):
    monkeypatch.setattr(lines_module, "LONGEST", 10)
    corpus = read_pairs(write("a.tsv", "123456789\t123456789\n1234567\tb\n1234\t6789\nab\tc"))
    assert list(corpus) == [Pair("1234567", "b"), Pair("1234", "6789"), Pair("ab", "c")]
    assert told(corpus) == {"a line of more than a megabyte": (1, ["a.tsv:1"])}


def test_languages_of_json(write):
    lines = [{"translation": {"en": "one", "fr": "un"}}, {"fr": "deux", "en": "two 😀"}]
    file = write("a.jsonl", "\n".join(map(json.dumps, lines)))
    assert list(read_pairs(file, languages=("en", "fr"))) == ONE_TWO


def test_units_of_tmx(write):
    many = "".join(unit(en=f"text {n} " + "x" * 300, fr=f"texte {n}") for n in range(500))
    special = [
        '<tu><tuv xml:lang="EN-us"><seg>a <bpt i="1">&lt;b&gt;</bpt><hi>bold</hi>'
        '<ept i="1">&lt;/b&gt;</ept> &amp; <ph><sub>c</sub></ph>é</seg></tuv>'
        '<tuv lang="fr"><seg>gras &#233;</seg></tuv></tu>',
        unit(en="alone"),
        unit(en=" ", fr="vide"),
        unit(en="a&nbsp;b", fr="x"),
    ]
    corpus = read_pairs(write("m.tmx", TMX.format(many + "\n" + "\n".join(special))))
    pairs = list(corpus)
    assert [pair.target for pair in pairs[:500]] == [f"texte {n}" for n in range(500)]
    assert pairs[500:] == [Pair("a bold & é", "gras é")]
    assert told(corpus) == {
        "a unit that is not in en and fr": (1, ["m.tmx:8"]),
        "an empty source": (1, ["m.tmx:9"]),
        "an entity that XML does not know": (1, ["m.tmx:10"]),
    }


def test_tmx_of_many_languages_wants_to_know_which(write):
    file = write("m.tmx", TMX.format(unit(de="eins", en="one", fr="un")))
    with pytest.raises(ConveyorError, match=r"de, en, fr.*\n.*languages=\('en', 'de'\)"):
        list(read_pairs(file))
    assert list(read_pairs(file, languages=("fr", "de"))) == [Pair("un", "eins")]


def test_tmx_in_utf_16(write):
    content = TMX.format(unit(en="one", fr="un é")).replace("UTF-8", "UTF-16")
    with pytest.raises(ConveyorError, match="iconv"):
        list(read_pairs(write("m.tmx", content.encode("utf-16"))))


def test_entities_of_its_own_are_refused(write):
    bomb = '<!DOCTYPE tmx [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><tmx><body>&b;</body></tmx>'
    with pytest.raises(ConveyorError, match=r"<!ENTITY a \.\.\.> at .*m.tmx:1"):
        list(read_pairs(write("m.tmx", bomb)))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.tsv", b"", "got none in"),
        ("a.tsv", b"a\nb\n", r"none left \(not two columns: 2 \(a.tsv:1, a.tsv:2\)\)"),
        ("a.tsv", "a\tb\n".encode("utf-16"), r"UTF-16.*\n.*iconv"),
        ("a.tsv", gzip.compress(b"a\tb\n" * 9999, mtime=0)[:-9], r"a\.tsv: Compressed file ended"),
        ("a.tmx", TMX.format(unit(en="a", fr="b"))[:-20], r"a\.tmx:\d+: .*\n.*xmllint"),
        ("a.tmx", '<?xml version="1.0" encoding="shift-jis"?><tmx/>', "a.tmx:1: multi-byte"),
        ("a.txt", b"a\tb", r"\.tsv, \.jsonl, \.tmx"),
    ],
)
def test_files_that_cannot_be_read(write, name, content, message):
    with pytest.raises(ConveyorError, match=message):
        list(read_pairs(write(name, content)))


def test_no_file(tmp_path):
    with pytest.raises(ConveyorError, match="nothing there"):
        read_pairs(tmp_path / "none.tsv")
    with pytest.raises(ConveyorError, match="a folder"):
        read_pairs(tmp_path)
    with pytest.raises(ConveyorError, match="got none"):
        read_pairs()


SEEDS = [
    b"one\tun\n",
    b'{"source": "a", "target": "b"}\n',
    b'{"turns": ["a", "b", "c"]}\n',
    TMX.format(unit(en="one", fr="un")).encode(),
    b"conversations:\n- - Hello\n  - Hi\n- [a, *b, {c: d}]\n",
    gzip.compress(b"one\tun\n", mtime=0),
]


@st.composite
def files(draw):
    """Bytes at random, and files that were right before something happened to them."""
    content = bytearray(draw(st.sampled_from([b"", *SEEDS])) * draw(st.integers(1, 2)))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(content)))
        content[at : at + draw(st.integers(0, 4))] = draw(st.binary(max_size=4))
    return bytes(content)


@given(files() | st.binary(max_size=200), st.booleans())
@example(b"conversations:\n" + b"[" * 5000, False)
@example(b"conversations: &a [*a, *a]", False)
@example(b"{[]: 1}", False)
@example(b"!!python/object:os.system {}", False)
def test_any_bytes_give_pairs_and_a_report_or_an_error_that_teaches(tmp_path, content, refuse):
    policy = "refuse" if refuse else "skip"
    for name in ("f.tsv", "f.jsonl", "f.tmx", "f.yml"):
        (tmp_path / name).write_bytes(content)
    (tmp_path / "f.en").write_bytes(b"one\ntwo\n")
    corpora = [
        *(read_pairs(tmp_path / name, bad_lines=policy) for name in ("f.tsv", "f.jsonl", "f.tmx")),
        read_pairs(tmp_path / "f.en", tmp_path / "f.tsv", bad_lines=policy),
        *(
            read_dialogues(tmp_path / name, bad_lines=policy)
            for name in ("f.tsv", "f.jsonl", "f.yml")
        ),
    ]
    for corpus in corpora:
        try:
            pairs = list(corpus)
        except ConveyorError:
            continue
        assert pairs
        assert corpus.report.pairs == len(pairs)
        assert not (refuse and corpus.report.left_out)
        for pair in pairs:
            assert pair.source.strip() == pair.source != ""
            assert pair.target.strip() == pair.target != ""
            "".join(pair[:2]).encode("utf-8")
