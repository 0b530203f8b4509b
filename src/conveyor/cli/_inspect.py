"""`conveyor inspect`: the report of a sentence."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from .._errors import lesson
from ..seq2seq import Translator
from ._sentences import Sentence, report_sentences


def inspect(
    model: Annotated[Path, typer.Argument(help="A folder that conveyor train made.")],
    text: Annotated[list[str], typer.Argument(help="A sentence, in quotes; or several.")],
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("report.html"),
    beam: Annotated[
        int | None, typer.Option(help="Hypotheses at a time. Default: the model's.", min=1)
    ] = None,
) -> None:
    """Translate a sentence and write a page on how: attention, search, cell states."""
    if not all(each.strip() for each in text):
        raise lesson(
            "conveyor inspect",
            "a sentence to translate",
            repr(text),
            f'Write conveyor inspect {model} "A sentence.".',
        )
    translator = Translator.load(model)
    search = dataclasses.replace(translator.config.search, sample=False)
    if beam is not None:
        search = dataclasses.replace(search, beam=beam)
    report_sentences(
        translator.models,
        [Sentence(each) for each in text],
        out,
        title=model.resolve().name,
        config=search,
    )
    typer.echo(f"Written: {out}    open it in a browser")
