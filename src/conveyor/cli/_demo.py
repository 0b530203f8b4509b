"""`conveyor demo`: dates in forty languages, from nothing to a model and a report."""

from __future__ import annotations

import dataclasses
import random
import time
from pathlib import Path

import keras
from rich.console import Console
from rich.table import Table

from .. import inspection
from ..seq2seq import Config, Pair, Score, Training, Translator, dates, fold, score, train
from ..seq2seq._batches import pad
from ..seq2seq._characters import BEGIN

# First in the report, where the held-out dates have them.
_SHOWN = ("French", "Portuguese", "Arabic", "Japanese", "Russian")


def run(out: Path, *, seed: int, max_minutes: float, steps: int | None, console: Console) -> None:
    """Draw the dates, train, judge, save, and write the report."""
    out.mkdir(parents=True, exist_ok=True)  # before the work, should it be impossible
    random.seed(seed)  # Keras draws the seeds of its initializers from here
    config = _config(seed, max_minutes, steps)
    console.print("[bold]Reading dates in 40 languages[/]: one LSTM reads, one LSTM writes.\n")
    corpus = dates.corpus(seed)
    languages = {pair.tags[0] for pair in corpus.train}
    console.print(
        f"{len(corpus.train):,} dates to learn from in {len(languages)} languages, "
        f"{len(corpus.held_out):,} to judge by, of days that no language shows in training."
    )
    translator = Translator.for_pairs(corpus.train, config)
    engine = translator.encoder.lstm.explain_engine()
    console.print(f"Backend {keras.backend.backend()}, {engine}\n", highlight=False)

    began = time.monotonic()
    training = train(translator, corpus.train, held_out=corpus.held_out[:1000], console=console)
    seconds = time.monotonic() - began
    judged = score(translator, corpus.held_out)
    _print_result(console, training, judged, seconds)
    _print_examples(console, translator, _examples(corpus.held_out, seed), judged)

    model, report = out / "dates.keras", out / "report.html"
    translator.save(model)
    summary = {
        "exact match": f"{judged.exact_match:.1%} of {len(corpus.held_out):,} held-out dates",
        "training": f"{training.steps:,} batches of {config.batch_size} in {seconds:.0f} s",
        "engine": engine.splitlines()[0] + f" on {keras.backend.backend()}",
        "parameters": f"{translator.count_params():,}",
    }
    _write_report(report, translator, _to_look_at(corpus.held_out), summary)
    console.print(f"\nThe model:  {model}    keras.saving.load_model reads it back")
    console.print(f"The report: {report}    open it in a browser")


def _config(seed: int, max_minutes: float, steps: int | None) -> Config:
    config = Config(seed=seed, max_target_length=12, max_seconds=max_minutes * 60)
    if steps is not None:
        config = dataclasses.replace(config, steps=steps, evaluate_every=max(1, steps // 8))
    return config


def _print_result(console: Console, training: Training, judged: Score, seconds: float) -> None:
    if training.interrupted:
        console.print("[yellow]Interrupted[/]: what follows is with what it had learned so far.")
    console.print(
        f"\n[bold]{judged.exact_match:.1%} of the held-out dates are read exactly[/], "
        f"after {training.steps:,} batches in {seconds:.0f} seconds."
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
    written = translator.translate([pair.source for pair in pairs])
    sources = [translator.source.encode(pair.source) for pair in pairs]
    # What it has written, it reads again: the decoder goes through the states of the search.
    targets = [[BEGIN, *translator.target.encode(text)] for text in written]
    longest = max(map(len, targets))
    tree = inspection.trace(
        translator,
        {"source": pad(sources), "target": pad(targets)},
        tokens={
            "encoder/lstm": [list(_as_read(translator, pair.source)) for pair in pairs],
            "decoder/lstm": [
                ["<begin>", *text, *[""] * (longest - 1 - len(text))] for text in written
            ],
        },
    )
    inspection.write_report(
        path,
        title="Reading dates in 40 languages",
        tree=tree,
        flows=inspection.describe(translator),
        handed_on={
            "encoder/lstm": "hidden_state and cell_state go to decoder/lstm as its initial_state"
        },
        examples=[
            inspection.ReportExample(
                title=f"A date in {pair.tags[0]}",
                source=pair.source,
                output=text,
                expected=pair.target,
                language=pair.tags[0],
            )
            for pair, text in zip(pairs, written, strict=True)
        ],
        summary=summary,
    )


def _as_read(translator: Translator, text: str) -> str:
    return fold(text) if translator.source.folded else text
