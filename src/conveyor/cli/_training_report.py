"""The report of a training: its summary, and sentences to look into."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..seq2seq import Pair, Training, Translator, read_pairs
from ..seq2seq._encoded import read_encoded
from ._sentences import Sentence, report_sentences

_SENTENCES = 12
_LETTERS = 160  # longer ones make a page that nobody reads


def write_report(
    folder: Path, training: Training, pairs: Sequence[Pair] | None = None, *, title: str = ""
) -> Path | None:
    """`report.html` in the folder, with some of the dev pairs, or of those that it learned from.

    Needs xarray; None without, and where no pair is short enough to be looked at.
    """
    try:
        import xarray as xarray
    except ImportError:
        return None
    translator = training.translator
    if pairs is None:
        found = _dev_pairs(folder) or _train_pairs(folder, translator)
        short = (pair for pair in found if len(pair.source) <= _LETTERS)
        pairs = list(itertools.islice(short, _SENTENCES))
    if not pairs:
        return None
    config = translator.config.search
    return report_sentences(
        translator.models,
        [Sentence(pair.source, pair.target) for pair in pairs],
        folder / "report.html",
        title=title or folder.resolve().name,
        config=dataclasses.replace(config, sample=False),
        summary=summary_of(training),
    )


def _dev_pairs(folder: Path) -> list[Pair]:
    file = folder / "data" / "dev.jsonl"
    return list(read_pairs(file)) if file.exists() and file.stat().st_size else []


def _train_pairs(folder: Path, translator: Translator) -> Iterator[Pair]:
    encoded = read_encoded(folder / "data" / "train")
    if encoded is None:
        return
    for number in range(len(encoded)):
        source, target = encoded.source.of(number), encoded.target.of(number)
        yield Pair(translator.source.decode(source), translator.target.decode(target))


def summary_of(training: Training) -> dict[str, str]:
    """Facts of a training, label to text."""
    minutes, seconds = divmod(round(training.seconds), 60)
    facts = {
        "training": f"{training.steps:,} steps in {minutes} min {seconds} s, "
        f"until {training.ended}",
        "model": f"the {training.model} one, "
        f"{training.translator.models[0].count_params():,} parameters",
    }
    dev = training.dev
    if dev is not None:
        facts["dev perplexity"] = f"{dev.perplexity:.2f}"
        if dev.bleu is not None and dev.chrf is not None:
            facts["dev BLEU, chrF"] = f"{dev.bleu:.1f}, {dev.chrf:.1f}"
        facts["dev exact match"] = f"{dev.exact_match:.1%}"
    return facts
