"""The report of sentences: what a translator wrote, where it looked, what it remembered."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import inspection
from ..seq2seq import BeamTree, Seq2Seq, Translator, beam_trees
from ..seq2seq._batches import pad
from ..seq2seq._tokens import BEGIN

_BEGIN, _END = "<begin>", "<end>"


def report_sentences(
    translator: Translator,
    texts: Sequence[str],
    path: Path,
    *,
    title: str,
    expected: Sequence[str | None] | None = None,
    languages: Sequence[str | None] | None = None,
    summary: Mapping[str, str] | None = None,
    beam: int | None = None,
) -> Path:
    """Translate, and write the report of what went on meanwhile.

    The decoder reads what it has written once more, and is watched while it does.
    """
    model = translator.models[0]
    search = translator.search_config(beam=beam)
    sources = [model.source.encode(text) for text in texts]
    trees = beam_trees(translator.models, sources, search, n_best=search.beam)
    best = [tree.hypotheses[0].tokens for tree in trees]
    read = [model.source.pieces(source) for source in sources]
    written = [[_BEGIN, *model.target.pieces(tokens)] for tokens in best]
    inputs = {"source": pad(sources), "target": pad([[BEGIN, *tokens] for tokens in best])}
    tree = _one_call_a_layer(inspection.trace(model, inputs))
    tree = _with_tokens(tree, {"encoder": read, "decoder": written})
    attention = None
    if model.config.model.attention != "none":
        weights = [hypothesis_attention(translator, inputs, n) for n in range(len(texts))]
        attention = inspection.Attention(
            weights=_stacked(weights),
            target=[[*tokens[1:], _END] for tokens in written],
            source=read,
        )
    return inspection.write_report(
        path,
        title=title,
        tree=tree,
        flows=inspection.describe(model),
        handed_on=_handed_on(model),
        examples=[
            inspection.ReportExample(
                title=f"Sentence {n + 1}",
                source=text,
                output=model.target.decode(best[n]),
                expected=expected[n] if expected else None,
                language=languages[n] if languages else None,
            )
            for n, text in enumerate(texts)
        ],
        summary=summary,
        health=inspection.health(tree),
        attention=attention,
        beams=[
            [(model.target.decode(found.tokens), found.score) for found in tree.hypotheses]
            for tree in trees
        ],
        searches=[_search_tree(found, model) for found in trees],
    )
