"""Saves an explanation as a file: a drawing or a page, chosen by the name of the file."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from .._errors import lesson
from ._explanation_html import page
from ._flow import LayerFlow
from ._png import rasterize
from ._sheet import draw_sheet

_Flows = tuple[LayerFlow, ...]


def _svg(flows: _Flows, dark: bool | None) -> bytes:
    return draw_sheet(flows, dark=dark).encode("utf-8", "xmlcharrefreplace")


def _html(flows: _Flows, dark: bool | None) -> bytes:
    return page(flows, dark=dark).encode("utf-8", "xmlcharrefreplace")


def _png(flows: _Flows, dark: bool | None) -> bytes:
    return rasterize(draw_sheet(flows, dark=bool(dark)))


_KINDS: dict[str, Callable[[_Flows, bool | None], bytes]] = {
    ".svg": _svg,
    ".html": _html,
    ".png": _png,
}


def save(flows: _Flows, path: str | os.PathLike[str], dark: bool | None) -> Path:
    """Write the file, and the folders above it where they are missing."""
    where = "explain(...).save"
    if not isinstance(path, (str, os.PathLike)):
        write = 'Write save("flow.svg").'
        raise lesson(where, "the name of a file", type(path).__name__, write)
    target = Path(path)
    kind = _KINDS.get(target.suffix.lower())
    if kind is None:
        raise lesson(
            where,
            f"a name that ends in {', '.join(_KINDS)}",
            repr(str(path)),
            f'Write save("{target.stem or "flow"}.svg") for a drawing, .png for its pixels, '
            ".html for a page with the text.",
        )
    content = kind(flows, dark)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    return target
