"""Libraries that only inspection needs, imported when they are: the extra `inspect`."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from .._errors import ConveyorError


def extra(name: str, what: str) -> Any:
    """The module `name`, which `what` needs.

    Raises:
        ConveyorError: it is not installed.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name.partition(".")[0]:
            raise
        raise ConveyorError(
            f"{what} needs {error.name}, which is not installed.\n"
            'Run: pip install "conveyor[inspect]"'
        ) from error
