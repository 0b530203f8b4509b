"""The part of the report about what a sequence-to-sequence model looks at, and what it weighs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from .._errors import lesson
from ._characters import visible
from ._report_data import Blocks
from ._templates import load

# A text that was considered and its score, the log of its probability: the higher the better.
Hypothesis: TypeAlias = tuple[str, float]

# So many weights may have four digits; more of them have two.
_EXACT = 200_000


@dataclass(frozen=True)
class Attention:
    """How much each step of the output looked at each token of the source.

    Attributes:
        weights: (sample, target step, source step); a row sums to 1. NaN, or nothing looked at,
            past the end of a short one.
        target: for each sample the tokens written, as many as its target steps that count.
        source: for each sample the tokens read, as many as its source steps that count.
    """

    weights: npt.NDArray[Any]
    target: Sequence[Sequence[str]]
    source: Sequence[Sequence[str]]


def attention_data(
    attention: Attention | None, samples: int, blocks: Blocks
) -> dict[str, Any] | None:
    """For the page's script; the weights go to `blocks`.

    Raises:
        ConveyorError: the weights do not fit to the tokens or to the samples of the trace.
    """
    if attention is None:
        return None
    weights = np.asarray(attention.weights, dtype=np.float64)
    given = (len(attention.target), len(attention.source))
    if weights.ndim != 3 or {weights.shape[0], *given} != {samples}:
        raise lesson(
            "Attention",
            f"weights (sample, target step, source step) and a list of tokens for each of the "
            f"{samples} samples of the trace, target and source",
            f"weights {weights.shape}, {given[0]} lists in target, {given[1]} in source",
            "Write Attention(weights=array, target=[list(text) for text in written], "
            "source=[list(text) for text in read]).",
        )
    targets = [[visible(token) for token in tokens] for tokens in attention.target]
    sources = [[visible(token) for token in tokens] for tokens in attention.source]
    for sample, tokens in enumerate(zip(targets, sources, strict=True)):
        lengths = tuple(len(each) for each in tokens)
        if lengths[0] > weights.shape[1] or lengths[1] > weights.shape[2]:
            raise lesson(
                "Attention",
                f"no more tokens than steps: {weights.shape[1]} of target, "
                f"{weights.shape[2]} of source",
                f"{lengths[0]} and {lengths[1]} in sample {sample}",
                "Pass the tokens that the model was run with, one a step.",
            )
    return {
        "targets": targets,
        "sources": sources,
        "columns": weights.shape[2],
        **blocks.add(weights, 16 if weights.size <= _EXACT else 8),
    }


def beam_data(
    beams: Sequence[Sequence[Hypothesis]] | None, samples: int
) -> list[list[tuple[str, float]]] | None:
    """For the page's script: the hypotheses of each sample, best first.

    Raises:
        ConveyorError: not a list for each sample of the trace.
    """
    if beams is None:
        return None
    if len(beams) != samples:
        raise lesson(
            "report",
            f"a list of hypotheses (text, score) for each of the {samples} samples",
            f"{len(beams)} lists",
            'Write beams=[[("2025-03-04", -0.1), ("2025-04-03", -2.5)] for each sample of x].',
        )
    return [
        sorted(((str(text), float(score)) for text, score in beam), key=lambda each: -each[1])
        for beam in beams
    ]


def attention_section(*, attention: bool, beams: bool, searches: bool) -> str:
    """The section as HTML; nothing where none of them was given."""
    if not (attention or beams or searches):
        return ""
    return (
        '<section class="looked-at" aria-labelledby="looked"><h2 id="looked">'
        f"{'What it looked at' if attention else 'What it considered'}</h2>"
        '<p class="lead">For the sample that is chosen above: <b class="of-sample"></b></p>'
        f"{load('attention.html') if attention else ''}{load('beam.html') if beams else ''}"
        f"{load('search_tree.html') if searches else ''}"
        "<noscript><p>This part needs JavaScript.</p></noscript></section>"
    )
