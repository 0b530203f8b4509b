"""The packages of the extra `inspect`: imported where they are used, and not before."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from .._errors import ConveyorError


def optional(module: str, what: str) -> Any:
    """Import `module`, which `what` needs, or say what to install.

    >>> optional("json", "this example").dumps([1])
    '[1]'
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.partition(".")[0]:
            raise  # it is there, and lacks something itself
        raise ConveyorError(
            f"{what} needs {module}, which is not installed.\n"
            'Write pip install "conveyor[inspect]".'
        ) from None
