"""The page's HTML, CSS and JavaScript, which live as files of their own in `templates/`."""

from __future__ import annotations

from importlib.resources import files
from string import Template


def load(name: str) -> str:
    """The text of one file in `templates/`."""
    return files(__package__ or "").joinpath("templates", name).read_text(encoding="utf-8")


def fill(template: str, /, **values: str) -> str:
    """A template with every `$name` in it replaced; the values are HTML, escaped by the caller.

    A missing value is an error, and what a value contains is never read as a placeholder.
    """
    return Template(load(template)).substitute(values)
