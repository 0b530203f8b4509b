"""Dialogues from files, as pairs of a prompt and its response."""

from __future__ import annotations

import random
import re
from collections import deque
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Final, Literal

from .._errors import lesson
from ._corpus import Corpus, json_lines, kind_of
from ._corpus_report import CorpusReport
from ._extras import chatterbot_corpus, yaml
from ._lines import existing, lines, opened
from ._pairs import Pair, make_pair

# Between the turns of a prompt. A sign that can be seen, so that a prompt is one line of text.
SEPARATOR: Final = " \N{SYMBOL FOR RECORD SEPARATOR} "

_MIXED: Final = 100  # dialogues that the turns before a first prompt are taken from

_BREAKS: Final = re.compile(r"[ \t]*[\t\n\v\f\r\x1c-\x1e\x85\u2028\u2029␞]+\s*")


def join_turns(turns: Sequence[str], history: int) -> str:
    """The prompt that asks for what comes after these turns.

    It is the last turn, behind at most `history` before it. Each becomes one line: breaks, tabs
    and the separator itself become a space.

    >>> join_turns(["Hi!", "Hello.", "How are\\nyou?"], history=1)
    'Hello. ␞ How are you?'
    """
    return SEPARATOR.join(_one_line(turn) for turn in turns[-history - 1 :])


def _one_line(turn: str) -> str:
    return _BREAKS.sub(" ", turn).strip()


def read_dialogues(
    *paths: str | Path,
    history: int = 2,
    mix: bool = False,
    bad_lines: Literal["skip", "refuse"] = "skip",
) -> Corpus:
    """The pairs of the dialogues in files: each turn but the first answers those before it.

    - `.tsv`, `.tsv.gz`: a dialogue a line, its turns separated by tabs.
    - `.jsonl`, `.jsonl.gz`: a dialogue a line, `{"turns": ["...", "..."]}`.
    - `.yml`, `.yaml`: `conversations:` and a list of lists of turns, as chatterbot-corpus has
      them. Such a file is read as a whole.

    Sources are `join_turns` of what was said. Tags are the names of files without ending.

    Args:
        history: how many turns a prompt has before its last one.
        mix: give the first prompt of a dialogue a second time, behind the last turns of one
            of the hundred dialogues before it (the same one each time). So a chatbot learns to
            answer when the subject has changed.
        bad_lines: what to do with what is no dialogue: count and leave out, or refuse.

    Raises:
        ConveyorError: no such file, or of another format.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp(), "talk.tsv")
    >>> _ = file.write_text("Hi!\\tHello.\\tHow are you?\\tFine.\\n")
    >>> for pair in read_dialogues(file, history=1):
    ...     print(pair.source, "->", pair.target)
    Hi! -> Hello.
    Hi! ␞ Hello. -> How are you?
    Hello. ␞ How are you? -> Fine.
    """
    files = [existing(path) for path in paths]
    readers = {".tsv": _tsv, ".jsonl": _jsonl, ".yml": _yaml, ".yaml": _yaml}
    wrong = [str(file) for file in files if kind_of(file) not in readers]
    if wrong or not files:
        raise lesson(
            "read_dialogues",
            f"files of {', '.join(readers)}",
            ", ".join(map(repr, wrong)) or "none",
            'Write read_dialogues("talk.tsv"): a dialogue a line, tabs between its turns.',
        )

    def read(report: CorpusReport) -> Iterator[Pair]:
        before: deque[list[str]] = deque(maxlen=_MIXED)
        rng = random.Random(0)
        for file in files:
            tag = file.name.split(".")[0]
            for place, turns in readers[kind_of(file)](file, report):
                pairs = list(_pairs(place, turns, history, tag, report))
                yield from pairs
                if mix and history and pairs:
                    if before:
                        source = join_turns([*rng.choice(before), turns[0]], history)
                        yield pairs[0]._replace(source=source)
                    before.append(turns[-history:])

    return Corpus(read, files, bad_lines=bad_lines, settings=["dialogues", history, mix])


def read_chatterbot(
    language: str = "english",
    *topics: str,
    history: int = 2,
    mix: bool = False,
    bad_lines: Literal["skip", "refuse"] = "skip",
) -> Corpus:
    """The dialogues of the package chatterbot-corpus in a language; topics are their tags.

    Args:
        language: `english`, `french`, ...
        topics: `greetings`, `humor`, ...; none: all.
        history, mix, bad_lines: as in `read_dialogues`.

    Raises:
        ConveyorError: a language or a topic that it does not have.
        ImportError: the package is not installed; the message says how to.

    >>> next(iter(read_chatterbot("english", "greetings")))
    Pair(source='Hello', target='Hi', tags=('greetings',))
    """
    chatterbot_corpus()
    data = Path(str(resources.files("chatterbot_corpus"))) / "data"
    _known(language, [folder.name for folder in data.iterdir() if folder.is_dir()], "language")
    files = {file.stem: file for file in sorted((data / language).glob("*.yml"))}
    for topic in topics:
        _known(topic, list(files), f"topic in {language}")
    chosen = [files[topic] for topic in topics or files]
    return read_dialogues(*chosen, history=history, mix=mix, bad_lines=bad_lines)


def _known(name: str, known: list[str], what: str) -> None:
    if name not in known:
        raise lesson(
            "read_chatterbot",
            f"a {what} of chatterbot-corpus",
            repr(name),
            f"Write one of {', '.join(sorted(known))}.",
        )


def _pairs(
    place: str, turns: Sequence[str], history: int, tag: str, report: CorpusReport
) -> Iterator[Pair]:
    turns = [_one_line(turn) for turn in turns]
    if len(turns) < 2:
        report.add("fewer than two turns", place)
        return
    if not all(turns):
        report.add("an empty turn", place)
        return
    for number in range(1, len(turns)):
        source = join_turns(turns[:number], history)
        pair = make_pair(place, source, turns[number], (tag,), report)
        if pair:
            yield pair


Dialogue = tuple[str, list[str]]


def _tsv(file: Path, report: CorpusReport) -> Iterator[Dialogue]:
    for place, text in lines(file, report):
        if text is not None:
            yield place, text.split("\t")


def _jsonl(file: Path, report: CorpusReport) -> Iterator[Dialogue]:
    for place, value in json_lines(file, report):
        turns = value.get("turns") if isinstance(value, dict) else None
        if isinstance(turns, list) and all(isinstance(turn, str) for turn in turns):
            yield place, turns
        else:
            report.add('no list of texts named "turns"', place)


def _yaml(file: Path, report: CorpusReport) -> Iterator[Dialogue]:
    module = yaml()
    with opened(file) as opening:
        content = opening.read()
    try:
        # Of the nodes, as these know their lines; and so that "yes" and 22 stay what they are.
        root = module.compose(content.decode("utf-8-sig"), module.BaseLoader)
    except (module.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise lesson(
            "The corpus",
            "YAML of conversations",
            f"{file}: {error}",
            "Write conversations:, and below it - - Hello, and below that   - Hi.",
        ) from None
    for node in _conversations(root, module, file, report):
        place = f"{file.name}:{node.start_mark.line + 1}"
        turns = node.value if isinstance(node, module.SequenceNode) else []
        if turns and all(isinstance(turn, module.ScalarNode) for turn in turns):
            yield place, [turn.value for turn in turns]
        else:
            report.add("no list of turns", place)


def _conversations(root: Any, module: Any, file: Path, report: CorpusReport) -> list[Any]:
    lists = [root]
    if isinstance(root, module.MappingNode):
        lists = [value for key, value in root.value if key.value == "conversations"]
    if not lists or not all(isinstance(value, module.SequenceNode) for value in lists):
        report.add("no list of conversations", f"{file.name}:1")
        return []
    return [node for value in lists for node in value.value]
