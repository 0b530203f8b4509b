"""A heat map of time by units: colours around zero, the labels of the units."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .._palette import PALETTES
from .._tree import Booleans, Floats
from ._axes import FONT_SIZE, round_step


def heat_map(
    ax: Any, values: Floats, masked: Booleans, *, gate: bool, label: str, first: int = 0
) -> list[str]:
    """Draw (T, U) with time to the right, step 0 at x = `first`, and a colour bar beside it.

    Blue to orange around zero, as in the report; one hue from 0 to 1 for a gate. Masked steps
    are left open, and what is no number is black.

    Returns:
        The notes that the reader needs.
    """
    from matplotlib.colors import CenteredNorm, LinearSegmentedColormap, ListedColormap, Normalize

    finite = values[np.isfinite(values)]
    half, clipped = _half_range(finite)
    stops = PALETTES["light"]["gate" if gate else "signed"]
    place: dict[str, Any] = {
        "extent": (first - 0.5, first + len(values) - 0.5, values.shape[1] - 0.5, -0.5),
        "aspect": "auto",
        "origin": "upper",
        "interpolation": "nearest",
    }
    image = ax.imshow(
        np.ma.masked_invalid(values.T),
        cmap=LinearSegmentedColormap.from_list(f"conveyor {'gate' if gate else 'signed'}", stops),
        norm=Normalize(0, 1) if gate else CenteredNorm(0, half),
        **place,
    )
    extend = "both" if clipped and not gate else "neither"
    bar = ax.figure.colorbar(image, ax=ax, extend=extend, pad=0.02)
    bar.set_label(label, fontsize=FONT_SIZE)
    bar.ax.tick_params(labelsize=FONT_SIZE)
    broken = ~np.isfinite(values) & ~masked[:, np.newaxis]
    if not broken.any():
        return []
    ax.imshow(np.ma.masked_where(~broken.T, broken.T), cmap=ListedColormap(["black"]), **place)
    return ["(black: NaN or infinite)"]


def _half_range(finite: Floats) -> tuple[float, bool]:
    """Where the colours end, and whether numbers lie beyond.

    A few units far out would leave the rest without colour: they share the end of the scale.
    """
    largest = float(np.max(np.abs(finite), initial=0.0))
    usual = float(np.quantile(np.abs(finite), 0.995)) if finite.size else 0.0
    half = usual or largest or 1.0
    return half, largest > half * 1.25 or (largest > half and finite.size > 2000)


def label_units(ax: Any, units: npt.NDArray[Any]) -> None:
    """The number of the unit at each row, or at as many as have room."""
    inches = ax.get_position().height * ax.figure.get_figheight()
    thin = round_step(int(np.ceil(0.16 * len(units) / inches)))
    places = range(0, len(units), thin)
    ax.set_yticks(list(places), [str(units[place]) for place in places], fontsize=FONT_SIZE)
    ax.set_ylabel("unit", fontsize=FONT_SIZE)
