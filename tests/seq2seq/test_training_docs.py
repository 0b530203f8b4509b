"""docs/training.md says what the settings are."""

from __future__ import annotations

from .config_tables import DOCS, written


def test_the_tables_are_those_of_the_settings() -> None:
    text = DOCS.read_text(encoding="utf-8")
    assert text == written(text), "run python tests/seq2seq/config_tables.py"
