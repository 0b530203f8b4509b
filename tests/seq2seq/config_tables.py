"""The settings as tables for docs/training.md: `python tests/seq2seq/config_tables.py`."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
from pathlib import Path
from typing import Literal, get_args, get_origin, get_type_hints

from conveyor.seq2seq import Config

DOCS = Path(__file__).parents[2] / "docs" / "training.md"
_BEGIN, _END = "<!-- settings -->\n", "<!-- end of settings -->\n"


def tables() -> str:
    """One table a topic: each setting, its default, and the comment beside it in the source."""
    parts = []
    for topic, cls in get_type_hints(Config).items():
        said = _comments(cls)
        hints = get_type_hints(cls)
        rows = [f"**{topic}**: {_sentence(inspect.getdoc(cls))}", ""]
        rows += ["| setting | default | |", "|---|---|---|"]
        for setting in dataclasses.fields(cls):
            options = get_args(hints[setting.name])
            choice = get_origin(hints[setting.name]) is Literal
            words = [", ".join(f"`{o}`" for o in options)] if choice else []
            words += [said[setting.name]] if said.get(setting.name) else []
            default = str(setting.default) if choice else json.dumps(setting.default)
            rows.append(f"| `{setting.name}` | {default} | {'; '.join(words)} |")
        parts.append("\n".join(rows) + "\n")
    return "\n".join(parts)


def _sentence(text: str | None) -> str:
    first = (text or "").partition("\n")[0]
    return first[:1].lower() + first[1:]


def _comments(cls: type) -> dict[str, str]:
    """The comment above a field, and the one behind it."""
    said, above = {}, []
    for line in inspect.getsource(cls).splitlines():
        comment = re.fullmatch(r"    # (.*)", line)
        field = re.fullmatch(r"    (\w+): [^#]*?(?:  # (.*))?", line)
        if comment:
            above.append(comment[1])
        else:
            if field:
                parts = [_sentence(" ".join(above)).rstrip("."), field[2] or ""]
                said[field[1]] = "; ".join(part for part in parts if part)
            above = []
    return said


def written(text: str) -> str:
    """The document with the tables of today."""
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return before + _BEGIN + "\n" + tables() + "\n" + _END + after


if __name__ == "__main__":
    DOCS.write_text(written(DOCS.read_text(encoding="utf-8")), encoding="utf-8")
