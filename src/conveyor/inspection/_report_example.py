"""The samples of the report: what each one is, and the list to choose from."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from .._errors import lesson
from ._report_layers import TracedLayer


@dataclass(frozen=True)
class ReportExample:
    """What there is to say of one sample beside its numbers.

    Attributes:
        title: its heading, `A date in French`.
        source: the text that was read.
        output: the text that the model wrote; empty where it writes none.
        expected: the text it should have written; empty where nobody knows.
        language: a name or a code of the source's language, `fr`.
    """

    title: str
    source: str = ""
    output: str = ""
    expected: str = ""
    language: str = ""


def examples_of(
    given: Sequence[ReportExample], layers: Sequence[TracedLayer]
) -> tuple[ReportExample, ...]:
    """One example for each sample; those that were not given are made of the tokens."""
    samples = max(layer.shape[0] for layer in layers)
    if given and len(given) != samples:
        raise lesson(
            "report",
            f"an example for each of the {samples} samples of the trace",
            f"{len(given)}",
            "Write examples=[ReportExample(title=...) for each sample of x].",
        )
    if given:
        return tuple(given)
    return tuple(
        ReportExample(f"Sample {sample}", _text(layers, sample)) for sample in range(samples)
    )


def _text(layers: Sequence[TracedLayer], sample: int) -> str:
    for layer in layers:
        if layer.tokens is not None and sample < len(layer.tokens):
            tokens = layer.tokens[sample][: layer.lengths[sample]]
            letters = all(len(token) <= 1 for token in tokens)
            return ("" if letters else " ").join(tokens)
    return ""


def example_list(examples: Sequence[ReportExample]) -> str:
    """The samples as a list of radio buttons, the first one chosen."""
    return "".join(
        f'<li><label class="sample"><input type="radio" name="sample" value="{number}"'
        f'{" checked" if number == 0 else ""}><span class="sample-row">'
        f'<span class="sample-title" dir="auto">{escape(example.title)}</span>'
        f"{_language(example)}{_said(example)}</span></label></li>"
        for number, example in enumerate(examples)
    )


def _language(example: ReportExample) -> str:
    # "A date in French" has said it.
    if not example.language or example.language in example.title:
        return ""
    return f'<span class="language">{escape(example.language)}</span>'


def _said(example: ReportExample) -> str:
    said = ""
    if example.source:
        lang = _lang_attribute(example.language)
        said += f'<bdi class="source"{lang}>{escape(example.source)}</bdi>'
    if example.output:
        said += '<span class="becomes" aria-hidden="true">→</span>'
        said += f'<bdi class="output">{escape(example.output)}</bdi>'
    if example.expected:
        said += _verdict(example)
    return said


def _verdict(example: ReportExample) -> str:
    if example.output == example.expected:
        return '<span class="verdict right">as expected</span>'
    return f'<span class="verdict wrong">expected <bdi>{escape(example.expected)}</bdi></span>'


def _lang_attribute(language: str) -> str:
    """`lang` picks the right glyphs and voice, but only for a code: `fr`, not `French`."""
    is_code = re.fullmatch(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*", language)
    return f' lang="{language}"' if is_code else ""
