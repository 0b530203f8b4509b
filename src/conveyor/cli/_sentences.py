"""The report of sentences: what a translator wrote, where it looked, what it remembered."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import inspection
from ..seq2seq import BeamTree, Hypothesis, SearchConfig, Seq2Seq, beam_trees, search
from ..seq2seq._batches import pad
from ..seq2seq._tokens import BEGIN, END

_BEGIN, _END = "<begin>", "<end>"


@dataclass(frozen=True)
class Sentence:
    """A text to translate, and what there is to say of it beside."""

    text: str
    expected: str = ""
    title: str = ""
    language: str = ""


def report_sentences(
    models: Sequence[Seq2Seq],
    sentences: Sequence[Sentence],
    path: Path,
    *,
    title: str,
    config: SearchConfig,
    summary: Mapping[str, str] | None = None,
) -> Path:
    """Translate, and write the report of what went on meanwhile.

    What was written, the first of the models reads once more, and is watched while it does.
    """
    model = models[0]
    sources = [model.source.encode(sentence.text) for sentence in sentences]
    best = [found[0] for found in search(models, sources, config, return_attention=True)]
    trees = beam_trees(models, sources, config, n_best=config.beam)
    read = [model.source.pieces(source) for source in sources]
    written = [[_BEGIN, *model.target.pieces(found.tokens)] for found in best]
    inputs = {
        "source": pad(sources, max(1, *map(len, sources))),
        "target": pad([[BEGIN, *found.tokens] for found in best]),
    }
    tree = inspection.trace(model, inputs)
    tree = _labelled(tree, {"encoder": read, "decoder": written})
    return inspection.write_report(
        path,
        title=title,
        tree=tree,
        flows=inspection.describe(model),
        handed_on=_handed_on(model),
        examples=[
            inspection.ReportExample(
                title=sentence.title or f"Sentence {number}",
                source=sentence.text,
                output=model.target.decode(found.tokens),
                expected=sentence.expected,
                language=sentence.language,
            )
            for number, (sentence, found) in enumerate(zip(sentences, best, strict=True), 1)
        ],
        summary=summary,
        health=inspection.health(tree),
        attention=_attention(best, read, written),
        beams=[
            [(model.target.decode(found.tokens), found.score) for found in each.hypotheses]
            for each in trees
        ],
        searches=[search_tree(each, model) for each in trees],
    )


def _attention(
    best: Sequence[Hypothesis], read: list[list[str]], written: list[list[str]]
) -> inspection.Attention | None:
    rows = [found.attention for found in best]
    if any(each is None for each in rows):
        return None
    steps = max(len(each) for each in rows if each is not None)
    weights = np.full((len(rows), steps, max(1, *map(len, read))), np.nan)
    targets = []
    for sample, (each, tokens) in enumerate(zip(rows, written, strict=True)):
        assert each is not None
        weights[sample, : each.shape[0], : each.shape[1]] = each
        targets.append([*tokens[1:], _END][: each.shape[0]])
    return inspection.Attention(weights=weights, target=targets, source=read)


def _labelled(tree: Any, tokens: Mapping[str, list[list[str]]]) -> Any:
    """A node a layer, with the tokens of its side.

    A decoder that goes step by step calls its LSTMs once a step: these are put together.
    """
    import xarray as xr

    calls: dict[str, list[Any]] = {}
    for node in tree.subtree:
        if node.data_vars:
            path = re.sub(r" \(call \d+\)$", "", node.path.strip("/"))
            calls.setdefault(path, []).append(node.to_dataset())
    nodes: dict[str, Any] = {"/": xr.Dataset(attrs=tree.attrs)}
    for path, datasets in calls.items():
        joined = datasets[0] if len(datasets) == 1 else _in_a_row(datasets)
        texts = np.full((joined.sizes["sample"], joined.sizes["time"]), "", dtype=object)
        for row, each in zip(texts, tokens[path.split("/")[0]], strict=True):
            row[: len(each)] = each
        joined = joined.assign_coords(token=(("sample", "time"), texts.astype(str)))
        nodes[path] = joined.map(
            lambda values, token=joined["token"]: (
                values.where(token != "") if "time" in values.dims else values
            )
        )
        nodes[path].attrs = datasets[0].attrs
    return xr.DataTree.from_dict(nodes, name=tree.name)


def _in_a_row(datasets: list[Any]) -> Any:
    import xarray as xr

    steps = [name for name, values in datasets[0].data_vars.items() if "time" in values.dims]
    joined = xr.concat([each[steps] for each in datasets], dim="time")
    joined = joined.assign_coords(time=np.arange(len(datasets)))
    for name in datasets[0].data_vars:
        if name not in steps:
            joined[name] = datasets[0 if str(name).startswith("initial") else -1][name]
    return joined


def _handed_on(model: Seq2Seq) -> dict[str, str]:
    """What goes from the encoder's last layer to the decoder beside the data."""
    config = model.config.model
    flows = [flow.name for flow in inspection.describe(model) if flow.name.startswith("encoder/")]
    how = {
        "last": "begin the decoder",
        "projected": "begin the decoder, each through a layer of the bridge",
        "zero": "go no further: the decoder begins with zeros",
    }[config.bridge]
    looked = "" if config.attention == "none" else "; the attention looks at its hidden_states"
    return {flows[-1]: f"hidden_state and cell_state {how}{looked}"}


def search_tree(tree: BeamTree, model: Seq2Seq) -> inspection.SearchTree | None:
    """The same search with texts for tokens; None where nothing was searched."""
    if not len(tree.tokens):
        return None
    best = tree.hypotheses[0]
    step = len(best.tokens) + best.finished - 1
    beam = int(np.argmin(np.abs(tree.log_probabilities[step] - best.log_probability)))
    return inspection.SearchTree.from_arrays(
        [
            [_END if token == END else model.target.pieces([token])[0] for token in row]
            for row in tree.tokens.tolist()
        ],
        tree.parents,
        tree.log_probabilities,
        tree.finished,
        (step, beam),
    )
