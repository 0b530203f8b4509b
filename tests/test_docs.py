"""The Python in README and docs runs, from top to bottom of each file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])


@pytest.mark.every_case
@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_examples_run(path: Path, tmp_path, monkeypatch, capsys) -> None:
    text = path.read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    scope: dict[str, object] = {}
    blocks = list(re.finditer(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    for block in blocks:
        line = text.count("\n", 0, block.start()) + 1
        exec(compile("\n" * line + block[1], str(path), "exec"), scope)
    shown = capsys.readouterr().out
    for expected in re.findall(r"^```text\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        assert expected in shown


@pytest.mark.any_backend
@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_links_within_the_project_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), target
