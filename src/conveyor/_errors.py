"""The error that conveyor raises for input it cannot use."""

from __future__ import annotations


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
