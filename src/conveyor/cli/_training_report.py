"""The report of a training: its summary, and sentences to look into."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from ..seq2seq import Pair, Training, read_pairs
from ._sentences import Sentence, report_sentences

_SENTENCES = 12
_LETTERS = 160  # longer ones make a page that nobody reads


def write_report(
    folder: Path, training: Training, pairs: Sequence[Pair] | None = None, *, title: str = ""
) -> Path | None:
    """`report.html` in the folder, with some of the dev pairs; None where there are none.

    Needs xarray; None without.
    """
    try:
        import xarray as xarray
    except ImportError:
        return None
    if pairs is None:
        dev = folder / "data" / "dev.jsonl"
        pairs = list(read_pairs(dev)) if dev.exists() else []
        pairs = [pair for pair in pairs if len(pair.source) <= _LETTERS][:_SENTENCES]
    if not pairs:
        return None
    translator = training.translator
    config = translator.config.search
    return report_sentences(
        translator.models,
        [Sentence(pair.source, pair.target) for pair in pairs],
        folder / "report.html",
        title=title or folder.resolve().name,
        config=dataclasses.replace(config, sample=False),
        summary=summary_of(training),
    )


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
