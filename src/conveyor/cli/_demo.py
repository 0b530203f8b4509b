"""`conveyor demo`: dates in forty languages, from nothing to a model and a report."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path

import keras
from rich.console import Console
from rich.table import Table

from ..seq2seq import Config, Pair, Score, Training, Translator, dates, score, train
from ._sentences import Sentence, report_sentences
from ._training_report import summary_of

# First in the report, where the held-out dates have them.
_SHOWN = ("French", "Portuguese", "Arabic", "Japanese", "Russian")


def run(out: Path, *, seed: int, max_minutes: float, steps: int | None, console: Console) -> None:
    """Draw the dates, train, judge, save, and write the report."""
    out.mkdir(parents=True, exist_ok=True)  # before the work, should it be impossible
    console.print("[bold]Reading dates in 40 languages[/]: one LSTM reads, one LSTM writes.\n")
    corpus = dates.corpus(seed)
    languages = {pair.tags[0] for pair in corpus.train}
    console.print(
        f"{len(corpus.train):,} dates to learn from in {len(languages)} languages, "
        f"{len(corpus.held_out):,} to judge by, of days that no language shows in training."
    )
    config = _config(seed, max_minutes, steps)
    training = train(corpus.train, dev=corpus.held_out[:1000], config=config, console=console)
    translator = training.translator
    engine = translator.models[0].decoder.lstms[0].explain_engine()
    console.print(f"Backend {keras.backend.backend()}, {engine}", highlight=False)
    judged = score(translator, corpus.held_out)
    _print_result(console, training, judged)
    _print_examples(console, translator, _examples(corpus.held_out, seed), judged)

    model, report = out / "dates.keras", out / "report.html"
    translator.models[0].save(model)
    summary = {
        "exact match": f"{judged.exact_match:.1%} of {len(corpus.held_out):,} held-out dates",
        **summary_of(training),
        "engine": f"{engine.splitlines()[0]} on {keras.backend.backend()}",
    }
    _write_report(report, translator, _to_look_at(corpus.held_out), summary)
    console.print(f"\nThe model:  {model}    conveyor.Translator.load reads it back")
    console.print(f"The report: {report}    open it in a browser")


def _config(seed: int, max_minutes: float, steps: int | None) -> Config:
    settings: dict[str, float] = {"training.max_minutes": max_minutes}
    if steps is not None:
        settings |= {"training.steps": steps, "training.evaluate_every": max(1, steps // 8)}
    return dates.config(seed).with_settings(settings)


def _print_result(console: Console, training: Training, judged: Score) -> None:
    if training.interrupted:
        console.print("[yellow]Interrupted[/]: what follows is with what it had learned so far.")
    console.print(
        f"\n[bold]{judged.exact_match:.1%} of the held-out dates are read exactly[/], "
        f"after {training.steps:,} batches in {training.seconds:.0f} seconds."
    )
    worst = [f"{tag} {share:.1%}" for tag, share in list(judged.by_tag.items())[:3]]
    if judged.mistakes:
        console.print(f"Hardest: {', '.join(worst)}.")


def _examples(held_out: list[Pair], seed: int) -> list[Pair]:
    """One of each of a dozen languages."""
    by_language = {pair.tags[0]: pair for pair in held_out}
    chosen = random.Random(seed).sample(sorted(by_language), min(12, len(by_language)))
    return [by_language[language] for language in chosen]


def _print_examples(
    console: Console, translator: Translator, right: list[Pair], judged: Score
) -> None:
    table = Table("language", "as people write it", "read as", "is", box=None, pad_edge=False)
    wrong = [(mistake.pair, mistake.written) for mistake in judged.mistakes[:4]]
    mistaken = {mistake.pair for mistake in judged.mistakes}
    right = [pair for pair in right if pair not in mistaken]
    written = translator.translate([pair.source for pair in right])
    for pair, text in [*zip(right, written, strict=True), *wrong]:
        mark = "[green]right[/]" if text == pair.target else f"[red]{pair.target}[/]"
        table.add_row(pair.tags[0], pair.source, text, mark)
    console.print()
    console.print(table)


def _to_look_at(held_out: list[Pair]) -> list[Pair]:
    """A date of each language, a long one where it can be; first those of `_SHOWN`."""
    chosen: dict[str, Pair] = {}
    for pair in sorted(held_out, key=lambda pair: pair.tags[1] not in ("full", "long")):
        chosen.setdefault(pair.tags[0], pair)
    first = [language for language in _SHOWN if language in chosen]
    return [chosen[language] for language in dict.fromkeys([*first, *sorted(chosen)])]


def _write_report(
    path: Path, translator: Translator, pairs: list[Pair], summary: dict[str, str]
) -> None:
    report_sentences(
        translator.models,
        [
            Sentence(
                pair.source,
                pair.target,
                title=f"A date in {pair.tags[0]}",
                language=pair.tags[0],
            )
            for pair in pairs
        ],
        path,
        title="Reading dates in 40 languages",
        config=dataclasses.replace(translator.config.search, beam=4),
        summary=summary,
    )
