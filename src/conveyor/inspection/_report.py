"""Writes the report: one HTML file that needs nothing but a browser."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from ._flow import LayerFlow
from ._palette import PALETTES
from ._picture import ReportExample, picture
from ._report_example import example_section
from ._report_flow import flow_section
from ._templates import fill, load


def write_report(
    path: str | os.PathLike[str],
    *,
    title: str,
    flows: Sequence[LayerFlow] = (),
    handed_on: Mapping[str, str] | None = None,
    examples: Sequence[ReportExample] = (),
    summary: Mapping[str, str] | None = None,
) -> Path:
    """Write one self-contained HTML page about a model and what it remembered.

    The page loads nothing, follows the reader's light or dark theme, and shows a still picture
    where JavaScript is off. All texts given here are escaped.

    Args:
        path: the file to write, `report.html`; an older one is replaced. Folders above it are
            made where they are missing.
        title: the heading of the page.
        flows: what `describe(model)` gives: the diagram of the model and of its cells.
        handed_on: what goes from one LSTM to another beside the data, by the name of the flow
            that it leaves: `{"encoder/lstm": "its states begin decoder/lstm"}`.
        examples: sequences with their states (T, U), a heat map each.
        summary: facts for the head of the page, label to text, `{"exact match": "93.8 %"}`.

    Returns:
        The path of the file.

    Raises:
        ConveyorError: the states of an example are missing, or not a row per token of its source.
        OSError: the file cannot be written.

    >>> import tempfile
    >>> folder = tempfile.mkdtemp()
    >>> write_report(f"{folder}/report.html", title="Dates").name
    'report.html'
    """
    pictures = [picture(example) for example in examples]
    page = fill(
        "report.html",
        title=escape(title),
        style=load("report.css"),
        summary=_summary(summary or {}),
        flow=flow_section(tuple(flows), handed_on or {}),
        examples=_examples(
            [
                example_section(example, data, number)
                for number, (example, data) in enumerate(zip(examples, pictures, strict=True))
            ]
        ),
        data=script_json({"palettes": PALETTES, "examples": pictures}),
        script=load("report.js"),
    )
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(page, encoding="utf-8", errors="xmlcharrefreplace")  # half an emoji
    return target


def script_json(value: object) -> str:
    """JSON that no text inside it can end: a `<script>` ends at `</script` even in a string."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _summary(summary: Mapping[str, str]) -> str:
    facts = "".join(
        f"<div><dt>{escape(label)}</dt><dd dir=auto>{escape(text)}</dd></div>"
        for label, text in summary.items()
    )
    return f'<dl class="facts">{facts}</dl>' if facts else ""


def _examples(sections: list[str]) -> str:
    if not sections:
        return ""
    return (
        '<section aria-labelledby="examples"><h2 id="examples">What it remembered</h2>'
        '<p class="lead">One column per character read, one row per unit. '
        "Move over a picture, tap it, or walk it with the arrow keys.</p>"
        f"{''.join(sections)}</section>"
    )
