"""In which precision products are fastest here."""

from __future__ import annotations

from ._engines import _library


def fastest() -> str:
    """ "bfloat16" where the native engine has instructions for it in use, else "float32".

    Elsewhere every product would convert its numbers first, and be slower for it.
    """
    if _library.missing() is None and _library.target().endswith("bf16"):
        return "bfloat16"
    return "float32"
