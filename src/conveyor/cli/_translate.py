"""`conveyor translate`, `conveyor score`, `conveyor evaluate`: a trained model at work."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from .._errors import lesson
from ..seq2seq import Translation, Translator, read_corpus
from ..seq2seq import evaluate as judge

Models = Annotated[
    list[Path],
    typer.Argument(help="A folder that conveyor train made; several of one vocabulary vote."),
]
Pairs = Annotated[list[Path], typer.Argument(help="Pairs: a file, or two parallel files.")]
Beam = Annotated[
    int | None, typer.Option(help="Hypotheses at a time; 1 is greedy. Default: the model's.", min=1)
]
LengthPenalty = Annotated[
    float | None, typer.Option(help="Alpha of Wu et al. 2016: 0 prefers short ones.", min=0)
]
BatchTokens = Annotated[int | None, typer.Option(help="Source tokens translated together.", min=1)]


def translate(
    models: Models,
    beam: Beam = None,
    n_best: Annotated[
        int, typer.Option(help="So many translations a line: number, score, text.", min=1)
    ] = 1,
    scores: Annotated[
        bool, typer.Option("--scores", help="Write the score and a tab before each translation.")
    ] = False,
    length_penalty: LengthPenalty = None,
    no_repeat_ngram: Annotated[
        int | None, typer.Option(help="Never write so many tokens in a row twice.", min=0)
    ] = None,
    sample: Annotated[
        bool, typer.Option("--sample", help="Draw tokens instead of taking the likeliest.")
    ] = False,
    temperature: Annotated[float | None, typer.Option(help="Of samples.", min=1e-3)] = None,
    top_p: Annotated[
        float | None, typer.Option(help="Samples are of so much probability.", min=1e-3, max=1)
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of samples.", min=0)] = None,
    batch_tokens: BatchTokens = None,
) -> None:
    """Translate the lines of standard input to lines of standard output, in order."""
    translator = Translator.load(*models)
    found = translator.translate_lines(
        _lines(),
        n_best=n_best,
        beam=beam,
        length_penalty=length_penalty,
        no_repeat_ngram=no_repeat_ngram,
        sample=sample or None,
        temperature=temperature,
        top_p=top_p,
        seed=seed,
        batch_tokens=batch_tokens,
    )
    for number, translations in enumerate(found, 1):
        for translation in translations:
            sys.stdout.write(_as_line(translation, number, numbered=n_best > 1, scores=scores))
        sys.stdout.flush()


def score(
    models: Models, pairs: Annotated[Path, typer.Option("--pairs", help="Pairs to score.")]
) -> None:
    """Write the log probability of each target given its source, and that per token."""
    translator = Translator.load(*models)
    for found in translator.score(read_corpus(str(pairs))):
        typer.echo(f"{found.log_probability:.4f}\t{found.per_token:.4f}")


def evaluate(
    model: Annotated[Path, typer.Argument(help="A folder that conveyor train made.")],
    pairs: Pairs,
    beam: Beam = None,
    length_penalty: LengthPenalty = None,
    batch_tokens: BatchTokens = None,
    tokenize: Annotated[
        str, typer.Option(help="Of sacrebleu: 13a; zh, ja-mecab, char without spaces.")
    ] = "13a",
) -> None:
    """Translate pairs and compare: BLEU and chrF by sacrebleu, perplexity, speed."""
    translator = Translator.load(model)
    corpus = read_corpus(*pairs)
    found = judge(
        translator,
        corpus,
        tokenize=tokenize,
        beam=beam,
        length_penalty=length_penalty,
        batch_tokens=batch_tokens,
    )
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_row("BLEU", f"{found.bleu:.2f}", found.bleu_signature)
    table.add_row("chrF", f"{found.chrf:.2f}", found.chrf_signature)
    table.add_row("perplexity", f"{found.perplexity:.3f}", f"of {found.pairs:,} pairs")
    table.add_row("exact match", f"{found.exact_match:.1%}", "")
    table.add_row(
        "speed",
        f"{found.sentences_per_second:,.1f}",
        f"sentences a second, {found.tokens_per_second:,.0f} tokens",
    )
    Console().print(table)
    if corpus.report.left_out:
        Console(stderr=True).print(str(corpus.report), highlight=False, soft_wrap=True)


def _lines() -> Iterator[str]:
    for number, line in enumerate(sys.stdin.buffer, 1):
        try:
            yield line.decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise lesson(
                "conveyor translate",
                "lines of UTF-8 text",
                f"line {number}: {error.reason} at byte {error.start}",
                "Write iconv -f LATIN1 -t UTF-8 file | conveyor translate model.",
            ) from None


def _as_line(translation: Translation, number: int, *, numbered: bool, scores: bool) -> str:
    fields: list[str] = []
    if numbered:
        fields.append(str(number))
    if numbered or scores:
        fields.append(f"{translation.score:.4f}")
    # One line a translation, whatever was learned from.
    return "\t".join([*fields, " ".join(translation.text.split("\n"))]) + "\n"
