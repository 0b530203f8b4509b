"""A sheet as pixels, without a browser: by resvg, in fonts that every installation has."""

from __future__ import annotations

from pathlib import Path

from ._extras import extra
from ._svg import MATHS, MONO, SANS

_SCALE = 2  # for screens with small pixels

# matplotlib brings them, so that a picture looks the same everywhere.
_FONTS = {SANS: "DejaVu Sans", MONO: "DejaVu Sans Mono", MATHS: "STIXGeneral"}
_FILES = (
    "DejaVuSans.ttf",
    "DejaVuSans-Bold.ttf",
    "DejaVuSansMono.ttf",
    "STIXGeneral.ttf",
)


def rasterize(sheet: str) -> bytes:
    """The PNG of an SVG that `draw_sheet` made, with two pixels to each of its units.

    Raises:
        ConveyorError: the extra `inspect` is not installed.
    """
    resvg = extra("resvg_py", "A drawing as .png")
    matplotlib = extra("matplotlib", "A drawing as .png")
    for family, font in _FONTS.items():
        sheet = sheet.replace(f'font-family="{family}"', f'font-family="{font}"')
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    png: bytes = resvg.svg_to_bytes(
        svg_string=sheet,
        zoom=_SCALE,
        font_files=[str(folder / name) for name in _FILES],
        font_family="DejaVu Sans",
    )
    return bytes(png)
