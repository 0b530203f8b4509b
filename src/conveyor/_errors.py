"""The error that conveyor raises for input it cannot use."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path


class ConveyorError(ValueError):
    """Wrong input: the message says what was expected, what arrived, what to write.

    A `ValueError`, so code written for Keras's own errors catches it too.
    """


def lesson(where: str, expected: str, got: str, write: str) -> ConveyorError:
    """An error in the three parts that every message of conveyor has.

    Args:
        where: what refused: `LSTM "encoder"`, `conveyor.ops.lstm`.
        expected: what it wants, with the names of the axes.
        got: what arrived, with the user's own numbers.
        write: the line to write instead.
    """
    return ConveyorError(f"{where} expects {expected}; got {got}.\n{write}")


_BACKENDS = ("jax", "torch", "tensorflow")


def without_backend(error: ModuleNotFoundError) -> ImportError:
    """What to say where Keras does not find the framework that it is to run on.

    That is tensorflow, unless KERAS_BACKEND or ~/.keras/keras.json name another.
    """
    missing = (error.name or "").split(".")[0]
    if missing not in _BACKENDS:
        return error
    there = [name for name in _BACKENDS if name != missing and find_spec(name)]
    write = (
        f"Write export KERAS_BACKEND={there[0]}, or before the first import of Keras "
        f'os.environ["KERAS_BACKEND"] = "{there[0]}".'
        if there
        else 'Write pip install "conveyor[jax]" and export KERAS_BACKEND=jax.'
    )
    others = f"{' and '.join(there) or 'no other backend'} {'are' if there[1:] else 'is'}"
    return ImportError(
        f"Keras is set to run on {missing}, which is not installed ({others}).\n{write}"
    )


def runs_the_command() -> bool:
    """Whether this process is the command `conveyor`, which imports the package to begin with."""
    return Path(*sys.argv[:1]).stem == "conveyor"
