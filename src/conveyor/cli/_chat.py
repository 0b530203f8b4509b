"""`conveyor chat`: a conversation with a model that has learned from dialogues."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from ..seq2seq import Translation, Translator, join_turns

_HELP = "/why shows what the last answer looked at, /new begins anew, /quit ends."


def chat(
    model: Annotated[Path, typer.Argument(help="A folder that conveyor train made of dialogues.")],
    sample: Annotated[
        bool, typer.Option("--sample", help="Draw each answer instead of taking the likeliest.")
    ] = False,
    temperature: Annotated[float | None, typer.Option(help="Of samples.", min=1e-3)] = None,
    top_p: Annotated[
        float | None, typer.Option(help="Samples are of so much probability.", min=1e-3, max=1)
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of samples.", min=0)] = None,
) -> None:
    """Talk: a line to the model, and its answer as it writes it.

    /why shows what the last answer looked at, /new begins anew, /quit ends.
    """
    console = Console(highlight=False)
    translator = Translator.load(model)
    history = translator.config.data.history
    turns: list[str] = []
    prompt = ""
    if sys.stdin.isatty():
        console.print(_HELP, style="dim")
    for line in _lines(console):
        said = line.strip()
        if said == "/quit":
            break
        if said == "/new":
            turns, prompt = [], ""
        elif said == "/why":
            _why(console, translator, prompt)
        elif said.startswith("/"):
            console.print(f"There is no {said.split()[0]}. {_HELP}", style="yellow", markup=False)
        elif said:
            prompt = join_turns([*turns, said], history)
            answer = ""
            for piece in translator.stream(
                prompt, sample=sample or None, temperature=temperature, top_p=top_p, seed=seed
            ):
                answer += piece
                console.out(piece, end="")
                console.file.flush()
            console.out("")
            turns = [*turns, said, answer][-2 * (history + 1) :]


def _lines(console: Console) -> Iterator[str]:
    """What is typed, or piped in; the end of it, or Ctrl-C, ends the conversation."""
    while True:
        try:
            if sys.stdin.isatty():
                yield console.input("[bold]> [/]")
            else:
                line = sys.stdin.readline()
                if not line:
                    return
                yield line
        except (EOFError, KeyboardInterrupt):
            console.out("")
            return


def _why(console: Console, translator: Translator, prompt: str) -> None:
    if not prompt:
        console.print("Nothing was said yet.", style="yellow")
        return
    if translator.config.model.attention == "none":
        console.print("This model has no attention: it answers from its two states alone.")
        return
    found = translator.translate_lines([prompt], beam=1, return_attention=True)
    console.print(attention_lines(next(found)[0]))


def attention_lines(translation: Translation) -> Text:
    """A line for each token written: the prompt, the darker the more it was looked at."""
    text = Text()
    written = [*translation.tokens, "<end>"]
    width = max(map(len, written))
    attention: Iterable[Any] = () if translation.attention is None else translation.attention
    for token, weights in zip(written, attention, strict=False):
        text.append(f"{token:>{width}}  ", style="bold")
        for piece, weight in zip(translation.source, weights, strict=False):
            shade = round(255 * (1 - float(weight) ** 0.5))
            style = f"{'black' if shade > 110 else 'white'} on rgb({shade},{shade},255)"
            text.append(piece, style=style if weight > 0.02 else "")
        best = max(range(len(translation.source)), key=lambda n: weights[n], default=None)
        if best is not None:
            text.append(f"  {translation.source[best]!r} {float(weights[best]):.0%}", style="dim")
        text.append("\n")
    return text
