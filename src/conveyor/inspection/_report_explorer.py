"""The part of the report to explore: layers, states, samples, the heat map, units, passages.

Most of it comes alive with JavaScript (`templates/*.js`); what is written here is what a reader
sees without: the samples with their texts, and a still picture of the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from ._palette import PALETTES, Theme, colour, png_data_url
from ._report_example import ReportExample, example_list
from ._report_layers import ABOUT, TracedLayer
from ._templates import fill

_MAP_HEIGHT = 420  # px, about: rows are a whole number of pixels, so that none is blurred
_LEAST_HEIGHT = 96  # px: room for the note beside the pointer


def explorer_section(
    layers: Sequence[TracedLayer],
    data: Sequence[dict[str, Any]],
    examples: Sequence[ReportExample],
) -> str:
    """The section as HTML; `data` is what the page's script gets of each layer."""
    first, shown = layers[0], data[0]
    state, steps, rows = shown["states"][first.memory], first.lengths[0], len(shown["rows"])
    names = [name for name in ABOUT if any(name in layer["states"] for layer in data)]
    label = f"{first.memory} of {first.path}: {rows} units over {steps} time steps"
    return fill(
        "explorer.html",
        reading="character"
        if first.tokens and all(len(t) <= 1 for s in first.tokens for t in s)
        else "step",
        many="s" * (len(examples) != 1),
        count=str(len(examples)),
        samples=example_list(examples),
        layers="".join(
            _choice("layer", str(number), layer.path, chosen=number == 0)
            for number, layer in enumerate(layers)
        ),
        states="".join(_choice("state", name, name, chosen=name == first.memory) for name in names),
        about=escape(state["about"]),
        steps=str(steps),
        height=str(_height(rows)),
        map_label=escape(label),
        light_png=_still(first, shown, "light"),
        dark_png=_still(first, shown, "dark"),
        first=f"{first.memory} of the first sample in {escape(first.path)}",
    )


def _height(units: int) -> int:
    row = max(1, min(16, round(_MAP_HEIGHT / units)))
    return max(_LEAST_HEIGHT, units * row)


def _choice(group: str, value: str, label: str, *, chosen: bool) -> str:
    checked = " checked" if chosen else ""
    return (
        f'<label><input type="radio" name="{group}" value="{value}"{checked}>'
        f"<span>{escape(label)}</span></label>"
    )


def _still(layer: TracedLayer, data: dict[str, Any], theme: Theme) -> str:
    """The first heat map as a picture, one pixel a value, for readers without JavaScript."""
    state = data["states"][layer.memory]
    steps = layer.lengths[0]
    rows_of = [layer.numbers.index(number) for number in data["rows"]]
    rows = np.asarray(layer.states[layer.memory][0, :steps], dtype=np.float64).T[rows_of]
    stops = PALETTES[theme][state["palette"]]
    pixels = colour(rows, state["low"], state["high"], stops)
    return png_data_url(np.where(np.isfinite(rows)[..., np.newaxis], pixels, 128).astype(np.uint8))
