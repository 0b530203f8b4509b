"""The colours of a heat map, and the map itself as a small PNG for readers without JavaScript.

Blue to orange is told apart by every kind of colour blindness. Zero takes the colour of the
page, light or dark, so that what is remembered stands out from what is not. A gate has no sign:
its palette runs in one hue from closed (the page) to open.
"""

from __future__ import annotations

import base64
import struct
import zlib
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

Theme: TypeAlias = Literal["light", "dark"]
Scale: TypeAlias = Literal["signed", "gate"]

# From the lowest to the highest value, evenly spaced; colours between are mixed linearly.
PALETTES: dict[Theme, dict[Scale, tuple[str, ...]]] = {
    "light": {
        "signed": ("#083061", "#1f65a8", "#6aaed6", "#f7f5f0", "#f0a25c", "#c4530b", "#6d2300"),
        "gate": ("#f7f5f0", "#b9dcd0", "#56a896", "#17695e", "#06302d"),
    },
    "dark": {
        "signed": ("#b5dcff", "#4fa3ea", "#1d548a", "#16181d", "#8a450f", "#ee8a32", "#ffd9ac"),
        "gate": ("#16181d", "#17463f", "#1f7d6e", "#4cc2a8", "#c9f5e6"),
    },
}


def colour(
    values: npt.NDArray[Any], low: float, high: float, stops: tuple[str, ...]
) -> npt.NDArray[np.uint8]:
    """Values of any shape to RGB, one axis more; outside of low and high the end colours."""
    rgb: npt.NDArray[np.float64] = np.array(
        [[int(stop[i : i + 2], 16) for i in (1, 3, 5)] for stop in stops], float
    )
    place = np.clip((np.nan_to_num(values, nan=low) - low) / (high - low), 0, 1) * (len(stops) - 1)
    below = np.minimum(place.astype(int), len(stops) - 2)
    part = (place - below)[..., np.newaxis]
    mixed: npt.NDArray[np.float64] = rgb[below] * (1 - part) + rgb[below + 1] * part
    return np.rint(mixed).astype(np.uint8)


def png_data_url(pixels: npt.NDArray[np.uint8]) -> str:
    """(height, width, 3) RGB to a PNG in a `data:` address: the few bytes of it that we need."""
    height, width, _ = pixels.shape
    rows = np.concatenate([np.zeros((height, 1), np.uint8), pixels.reshape(height, -1)], axis=1)

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    png = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(rows.tobytes(), 9))
        + chunk(b"IEND", b"")
    )
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")
