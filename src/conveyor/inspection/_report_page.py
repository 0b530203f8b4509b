"""Writes the page of the report: one HTML file that needs nothing but a browser."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from .._errors import lesson
from ._flow import LayerFlow
from ._palette import PALETTES
from ._report_attention import Attention, Hypothesis, attention_data, attention_section, beam_data
from ._report_data import Blocks, layer_data
from ._report_example import ReportExample, examples_of
from ._report_explorer import explorer_section
from ._report_flow import flow_section
from ._report_gradients import gradient_section, health_section
from ._report_layers import TracedLayer, traced_layers
from ._report_plan import plan
from ._report_search import packed_searches, search_data, searches_left_out, that_fit
from ._search_tree import SearchTree
from ._templates import fill, load

_SCRIPTS = (
    "page.js",
    "layer.js",
    "grid.js",
    "time.js",
    "explorer.js",
    "unit.js",
    "search.js",
    "passage.js",
    "attention.js",
    "search_tree.js",
    "start.js",
)
_STYLES = ("report.css", "explorer.css", "search_tree.css")


def write_report(
    path: str | os.PathLike[str],
    *,
    title: str,
    tree: Any = None,
    examples: Sequence[ReportExample] = (),
    flows: Sequence[LayerFlow] = (),
    handed_on: Mapping[str, str] | None = None,
    summary: Mapping[str, str] | None = None,
    gradients: Any = None,
    health: Any = None,
    attention: Attention | None = None,
    beams: Sequence[Sequence[Hypothesis]] | None = None,
    searches: Sequence[SearchTree | None] | None = None,
    max_bytes: int = 5_000_000,
) -> Path:
    """Write one self-contained HTML page about a model and what it remembered.

    The page loads nothing, follows the reader's light or dark theme, and shows a still picture
    where JavaScript is off. All texts given here are escaped. Numbers are kept as exactly as
    `max_bytes` allows; the page says how exactly, and what it left out.

    Args:
        path: the file to write, `report.html`; an older one is replaced. Folders above it are
            made where they are missing.
        title: the heading of the page.
        tree: what `conveyor.trace(model, x)` gives, or the dataset of one layer in it.
        examples: what there is to say of each sample of the trace: its text, its output.
        flows: what `describe(model)` gives: the diagram of the model and of its cells.
        handed_on: what goes from one LSTM to another beside the data, by the name of the flow
            that it leaves: `{"encoder/lstm": "its states begin decoder/lstm"}`.
        summary: facts for the head of the page, label to text, `{"exact match": "93.8 %"}`.
        gradients: what `gradient_flow(model, x, y)` gives, or its `.layers`.
        health: what is wrong with a layer, by its path: a text, or a list of lines.
        attention: what the model looked at while it wrote.
        beams: for each sample the hypotheses (text, score) that were considered.
        searches: for each sample how the search for its text went, or None.
        max_bytes: how large the file may become.

    Returns:
        The path of the file.

    Raises:
        ConveyorError: a trace without states over time; examples, attention, beams or searches
            that do not fit its samples; more than fits into `max_bytes`.
        OSError: the file cannot be written.

    The explorer follows LSTMVis (Strobelt, Gehrmann, Pfister & Rush 2018,
    doi:10.1109/TVCG.2017.2744158): units that are on throughout a passage, and other passages
    in which the same units are on.

    >>> import tempfile
    >>> folder = tempfile.mkdtemp()
    >>> write_report(f"{folder}/report.html", title="Dates").name
    'report.html'
    """
    layers = () if tree is None else _in_order(traced_layers(tree), flows)
    if not layers and (examples or attention or beams or searches):
        raise lesson(
            "report",
            "a trace beside examples, attention, beams and searches, which are about its samples",
            "none",
            "Write tree=conveyor.trace(model, x).",
        )
    chosen = examples_of(examples, layers) if layers else ()
    packed = packed_searches(searches, len(chosen))

    def page(budget: float) -> str:
        blocks = Blocks()
        texts: list[list[list[str]]] = []
        trees = that_fit(packed or (), budget)
        data = _data(layers, budget - sum(len(tree or "") for tree in trees), texts, blocks)
        samples = max((len(layer["lengths"]) for layer in data), default=0)
        looked = attention_data(attention, len(chosen), blocks)
        considered = beam_data(beams, len(chosen))
        searched = search_data(packed, trees, samples, blocks)
        return fill(
            "report.html",
            title=escape(title),
            style="".join(load(name) for name in _STYLES),
            summary=_summary(summary or {}),
            flow=flow_section(tuple(flows), handed_on or {}),
            explorer=explorer_section(layers, data, chosen[:samples]) if layers else "",
            attention=attention_section(
                attention=looked is not None,
                beams=considered is not None,
                searches=searched is not None,
            ),
            gradients=gradient_section(gradients),
            health=health_section(health),
            exactness=_exactness(data, searches_left_out(searched)),
            data=script_json(
                {
                    "palettes": PALETTES,
                    "layers": data,
                    "texts": texts,
                    "samples": [example.title for example in chosen[:samples]],
                    "attention": looked,
                    "beams": considered,
                    "searches": searched,
                }
            ),
            blocks=blocks.html(),
            script="\n".join(load(name) for name in _SCRIPTS),
        )

    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(_that_fits(page, layers, max_bytes))
    return target


def _in_order(layers: Sequence[TracedLayer], flows: Sequence[LayerFlow]) -> tuple[TracedLayer, ...]:
    """As the model has them: a tree has the shorter paths first."""
    places = {flow.name: place for place, flow in enumerate(flows)}
    return tuple(
        sorted(layers, key=lambda each: places.get(each.path.partition(" (call ")[0], len(places)))
    )


def _that_fits(page: Any, layers: Sequence[TracedLayer], max_bytes: int) -> bytes:
    """The page with as much in it as `max_bytes` allows: what it costs is known when written."""
    budget = 0.96 * max_bytes
    size = 0
    for _ in range(6):
        # Half an emoji has no UTF-8.
        written: bytes = page(budget).encode("utf-8", errors="xmlcharrefreplace")
        size = len(written)
        if size <= max_bytes or not layers:
            return written
        # Whole units and samples go, so a little more than what is too much.
        budget = max(1.0, budget - (size - max_bytes) - 0.01 * max_bytes)
    raise lesson(
        "report",
        f"a page that fits into max_bytes={max_bytes:,}",
        f"at least {size:,} bytes: texts, drawings and the script have their size too",
        f"Write max_bytes={2 * size:_}, or pass fewer samples.",
    )


def _data(
    layers: Sequence[TracedLayer], budget: float, texts: list[list[list[str]]], blocks: Blocks
) -> list[dict[str, Any]]:
    """Every layer gets its share of the budget, by what it has to show."""
    sizes = [sum(states.size for states in layer.states.values()) for layer in layers]
    return [
        layer_data(layer, plan(layer, budget * size / sum(sizes)), blocks, texts)
        for layer, size in zip(layers, sizes, strict=True)
    ]


def script_json(value: object) -> str:
    """JSON that no text inside it can end: a `<script>` ends at `</script` even in a string."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _summary(summary: Mapping[str, str]) -> str:
    facts = "".join(
        f"<div><dt>{escape(label)}</dt><dd dir=auto>{escape(text)}</dd></div>"
        for label, text in summary.items()
    )
    return f'<dl class="facts">{facts}</dl>' if facts else ""


def _exactness(data: Sequence[dict[str, Any]], searches: str) -> str:
    """How exact the numbers are, and what is not here, layer by layer."""
    items = ""
    for layer in data:
        bits = layer["states"][layer["memory"]]["bits"]
        errors = ", ".join(
            f"{name} to ±{_rounded_up(max(state['scales']) / 2):g}"
            for name, state in layer["states"].items()
        )
        said = " ".join([*layer["leftOut"], f"Numbers have {bits} bits: {errors} or better."])
        items += f"<li><b>{escape(layer['path'])}</b>: {escape(said)}</li>"
    if searches:
        items += f"<li><b>The search</b>: {searches}</li>"
    if not items:
        return ""
    left_out = searches or any(layer["leftOut"] for layer in data)
    heading = "How exact this page is" + (", and what it leaves out" if left_out else "")
    return f'<div class="exactness"><h2>{heading}</h2><ul class="notes">{items}</ul></div>'


def _rounded_up(error: float) -> float:
    """Two digits, and never less than it is."""
    unit = 10.0 ** (math.floor(math.log10(error)) - 1)
    return float(f"{math.ceil(error / unit) * unit:.2g}")
