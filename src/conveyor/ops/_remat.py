"""What `remat=` may be."""

from __future__ import annotations

from numbers import Integral
from typing import Any

from .._engines import Array, glue
from .._errors import lesson


def check_remat(remat: object, where: str) -> None:
    """Refuse anything but None and a number of steps."""
    if remat is None or (
        isinstance(remat, Integral) and not isinstance(remat, bool) and int(remat) > 0
    ):
        return
    raise lesson(
        where,
        "remat to be None or a number of time steps, at least 1",
        repr(remat) if isinstance(remat, str | bool | int | float) else type(remat).__name__,
        "For 10,000 steps write remat=100: the square root needs about the least memory.",
    )


def check_remat_suits(dtype: str, resets: Any, where: str) -> None:
    """Refuse what would get other numbers with it than without."""
    if "16" in dtype:
        raise lesson(
            where,
            "float32 or float64 with remat",
            f"{dtype}, in which the cell state would be rounded between segments",
            'Write dtype="float32" for this layer, or leave remat out.',
        )
    if resets is not None and "int" in glue.dtype_name(resets):
        raise lesson(
            where,
            "booleans for resets, which begin with zeros, together with remat",
            f"resets in {glue.dtype_name(resets)}",
            "Write resets=(resets != 0). A layer that begins each sequence with what it learned "
            "has no remat with resets.",
        )


def within(remat: int, x: Array) -> int:
    """No longer than the sequence, where its length is known."""
    time_steps = x.shape[1]
    return int(remat) if time_steps is None else min(int(remat), int(time_steps))
