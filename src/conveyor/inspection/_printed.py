"""Results that are printed with rich: as text, in a terminal, and in a notebook."""

from __future__ import annotations

from io import StringIO

from rich.console import Console, RenderableType

WIDTH = 92  # of the plain text: fits a terminal of 100 columns and a page of documentation


class Printed:
    """What `__rich__` gives, as text and as HTML."""

    def __rich__(self) -> RenderableType:
        raise NotImplementedError

    def __str__(self) -> str:
        page = StringIO()
        Console(file=page, width=WIDTH, color_system=None).print(self)
        return "\n".join(line.rstrip() for line in page.getvalue().splitlines())

    def _repr_html_(self) -> str:
        page = Console(file=StringIO(), record=True, width=WIDTH)
        page.print(self)
        code = "<pre style='font-family:monospace;line-height:1.35'>{code}</pre>"
        return page.export_html(inline_styles=True, code_format=code)
