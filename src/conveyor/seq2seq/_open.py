"""The corpus that a name on the command line stands for."""

from __future__ import annotations

from pathlib import Path

from ._config import DataConfig
from ._corpus import Corpus, kind_of, read_pairs
from ._dialogues import read_chatterbot, read_dialogues

_CHATTERBOT = "chatterbot:"


def are_dialogues(*paths: str | Path) -> bool:
    """Whether the paths can be of nothing else.

    >>> are_dialogues("chatterbot:english"), are_dialogues("talk.yml"), are_dialogues("a.tsv")
    (True, True, False)
    """
    first = str(paths[0]) if paths else ""
    return first.startswith(_CHATTERBOT) or kind_of(Path(first)) in {".yml", ".yaml"}


def read_corpus(
    *paths: str | Path,
    config: DataConfig | None = None,
    dialogues: bool = False,
    languages: tuple[str, str] | None = None,
) -> Corpus:
    """Pairs or dialogues, by what the paths are.

    - `chatterbot:english`, `chatterbot:english/greetings,humor`: see `read_chatterbot`.
    - `.yml` and `.yaml`, and every file if `dialogues`: see `read_dialogues`.
    - else: see `read_pairs`.

    Args:
        config: its `bad_lines`, and of dialogues `history` and `mix_dialogues`.

    Raises:
        ConveyorError: no such file, or of another format.

    >>> read_corpus("pairs.txt")
    Traceback (most recent call last):
    conveyor._errors.ConveyorError: The corpus expects a file; got 'pairs.txt' (nothing there).
    Write the path of a file of pairs.
    """
    config = config or DataConfig()
    policy, history, mix = config.bad_lines, config.history, config.mix_dialogues
    first = str(paths[0]) if paths else ""
    if first.startswith(_CHATTERBOT) and len(paths) == 1:
        language, _, topics = first.removeprefix(_CHATTERBOT).partition("/")
        chosen = topics.split(",") if topics else []
        return read_chatterbot(language, *chosen, history=history, mix=mix, bad_lines=policy)
    if dialogues or are_dialogues(*paths):
        return read_dialogues(*paths, history=history, mix=mix, bad_lines=policy)
    return read_pairs(*paths, languages=languages, bad_lines=policy)
