"""The part of the report about how a search went, step by step."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Sequence

from .._errors import lesson
from ._characters import visible
from ._report_data import Blocks
from ._search_tree import SearchTree

# Of the page, at most: the searches of the first samples are kept.
_SHARE = 0.3
_LEFT_OUT = -1


def packed_searches(
    searches: Sequence[SearchTree | None] | None, samples: int
) -> list[str | None] | None:
    """The tree of each sample for the page's script: base64 of raw deflate of JSON.

    Raises:
        ConveyorError: not a tree, or None, for each sample of the trace.
    """
    if searches is None:
        return None
    write = "Write searches=[SearchTree(steps, chosen=(step, place)) or None for each sample of x]."
    if isinstance(searches, SearchTree) or len(searches) != samples:
        got = "one alone" if isinstance(searches, SearchTree) else f"{len(searches)}"
        raise lesson("report", f"a SearchTree for each of the {samples} samples", got, write)
    for sample, tree in enumerate(searches):
        if not isinstance(tree, SearchTree | None):
            raise lesson(
                "report",
                "a SearchTree or None",
                f"{type(tree).__name__} for sample {sample}",
                write,
            )
    return [None if tree is None else _packed(tree) for tree in searches]


def that_fit(packed: Sequence[str | None], budget: float) -> list[str | None]:
    """Those of the first samples, as many as their share of the page's bytes allows."""
    kept, size = 0, 0
    for data in packed:
        size += len(data or "")
        if size > _SHARE * budget:
            break
        kept += 1
    return list(packed[:kept])


def search_data(
    packed: Sequence[str | None] | None, kept: Sequence[str | None], samples: int, blocks: Blocks
) -> list[int | None] | None:
    """For the page's script: the block of each of its samples; None without, -1 if left out."""
    if packed is None:
        return None
    return [
        None if data is None else blocks.keep(data) if sample < len(kept) else _LEFT_OUT
        for sample, data in enumerate(packed[:samples])
    ]


def searches_left_out(data: Sequence[int | None] | None) -> str:
    """In words, for the reader; nothing where all of them are here."""
    count = (data or ()).count(_LEFT_OUT)
    here = sum(block is not None for block in data or ()) - count
    return f"{here} searches are here, {count} were left out." if count else ""


def _packed(tree: SearchTree) -> str:
    texts = list(dict.fromkeys(node.token for step in tree.steps for node in step))
    number = {text: place for place, text in enumerate(texts)}
    data = {
        "texts": texts,
        "labels": [visible(text.replace("▁", " ")) for text in texts],
        "between": tree.between,
        "chosen": [int(place) for place in tree.chosen],
        "steps": [
            {
                "tokens": [number[node.token] for node in step],
                "parents": [-1 if node.parent is None else int(node.parent) for node in step],
                "logs": [round(float(node.log_probability), 4) for node in step],
                "ends": [place for place, node in enumerate(step) if node.finished],
            }
            for step in tree.steps
        ],
    }
    # ASCII: half an emoji has no UTF-8.
    text = json.dumps(data, separators=(",", ":")).encode("ascii")
    squeezer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return base64.b64encode(squeezer.compress(text) + squeezer.flush()).decode("ascii")
