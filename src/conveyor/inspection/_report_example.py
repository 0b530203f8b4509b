"""The part of the report about one sequence: the text, the heat map, where memory is written."""

from __future__ import annotations

import re
from html import escape
from typing import Any

import numpy as np
import numpy.typing as npt

from .._vocabulary import StateName
from ._palette import PALETTES, Theme, colour, png_data_url
from ._picture import Picture, PictureState, ReportExample
from ._seriation import change_per_step
from ._templates import fill

_MAP_HEIGHT = 420  # px, about: rows are a whole number of pixels, so that none is blurred
_LEAST_HEIGHT = 96  # px: room for the note beside the pointer


def example_section(example: ReportExample, data: Picture, number: int) -> str:
    """The section as HTML; `number` is the place of `data` in the page's list of pictures."""
    name = next(iter(data["states"]))
    state, units = data["states"][name], len(data["order"])
    change = change_per_step(example.states[name])
    return fill(
        "example.html",
        number=str(number),
        title=escape(example.title),
        language=_language(example.language),
        lang=_lang_attribute(example.language),
        source=escape("".join(example.source)),
        output=escape(example.output),
        verdict=_verdict(example),
        switches="".join(_switch(each, number, chosen=each == name) for each in data["states"]),
        about=escape(state["about"]),
        legend=_legend(state),
        steps=str(len(change)),
        units=f"{units} unit{'s' * (units != 1)}",
        height=str(_height(units)),
        map_label=f"{name}: {units} units over {len(change)} time steps",
        light_png=_still(example, data, name, "light"),
        dark_png=_still(example, data, name, "dark"),
        characters="".join(f"<li>{_under_column(label)}</li>" for label in data["labels"]),
        most=f"{change.max():.2g}",
        bars=_bars(change, data["labels"]),
        changing=name,
        busiest=_busiest(change, data["labels"]),
        first=name,
    )


def _height(units: int) -> int:
    row = max(1, min(16, round(_MAP_HEIGHT / units)))
    return max(_LEAST_HEIGHT, units * row)


def _language(language: str) -> str:
    return f'<span class="language">{escape(language)}</span>' if language else ""


def _lang_attribute(language: str) -> str:
    """`lang` picks the right glyphs and voice, but only for a code: `fr`, not `French`."""
    is_code = re.fullmatch(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*", language)
    return f' lang="{language}"' if is_code else ""


def _isolated(label: str) -> str:
    """Text of any direction that does not turn its neighbours."""
    return f"<bdi>{escape(label)}</bdi>"


def _under_column(label: str) -> str:
    """A label in the width of a column: what is longer than two characters stands upright."""
    return f"<bdi{' class=upright' if len(label) > 2 else ''}>{escape(label)}</bdi>"


def _verdict(example: ReportExample) -> str:
    if not example.expected:
        return ""
    if example.output == example.expected:
        return '<p class="verdict right">as expected</p>'
    return f'<p class="verdict wrong">expected {_isolated(example.expected)}</p>'


def _switch(name: StateName, number: int, *, chosen: bool) -> str:
    checked = " checked" if chosen else ""
    return (
        f'<label><input type="radio" name="state-{number}" value="{name}"{checked}>'
        f"<span>{name}</span></label>"
    )


def _legend(state: PictureState) -> str:
    """The colours and their numbers, as `show` in report.js sets them for the other states."""
    less, more = ("≤ ", "≥ ") if state["clipped"] else ("", "")
    light, dark = (PALETTES[theme][state["palette"]] for theme in ("light", "dark"))
    stops = ", ".join(f"light-dark({day}, {night})" for day, night in zip(light, dark, strict=True))
    low = f"{state['low']:g}".replace("-", "−")
    return (
        f'<div class="legend {state["palette"]}"><span class="low">{less}{low}</span>'
        f'<i style="background:linear-gradient(90deg, {stops})"></i>'
        f'<span class="high">{more}{state["high"]:g}</span></div>'
    )


def _still(example: ReportExample, data: Picture, name: StateName, theme: Theme) -> str:
    """The heat map as a picture, one pixel per value, for readers without JavaScript."""
    state = data["states"][name]
    rows = np.asarray(example.states[name], dtype=np.float64).T[data["order"]]
    stops = PALETTES[theme][state["palette"]]
    return png_data_url(colour(rows, state["low"], state["high"], stops))


def _bars(change: npt.NDArray[np.float64], labels: list[str]) -> str:
    most = float(change.max()) or 1.0
    busiest = set(_steps_by_change(change)[:3])
    return "".join(
        f'<li{" class=busiest" if step in busiest else ""} style="--part:{amount / most:.3f}" '
        f'title="step {step + 1}: {amount:.3g}"><i></i>{_under_column(label)}</li>'
        for step, (amount, label) in enumerate(zip(change, labels, strict=True))
    )


def _busiest(change: npt.NDArray[np.float64], labels: list[str]) -> str:
    *most, last = (
        f"<b>{_isolated(labels[step])}</b> (step {step + 1})"
        for step in _steps_by_change(change)[:3]
    )
    return f"The memory changes most at {', '.join(most)}{' and ' * bool(most)}{last}."


def _steps_by_change(change: npt.NDArray[Any]) -> list[int]:
    return [int(step) for step in np.argsort(-change, kind="stable")]
