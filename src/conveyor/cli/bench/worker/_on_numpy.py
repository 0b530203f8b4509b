"""A function of NumPy arrays; there is nothing to compile, and no gradient."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

PACKAGES = ("numpy",)


def limit_threads(threads: int) -> None:
    """The environment has said it."""


def array(values: np.ndarray, dtype: str) -> np.ndarray:
    return values.astype(dtype)


def to_numpy(value: Any) -> np.ndarray:
    return np.asarray(value)


def inference(
    function: Callable[..., Sequence[Any]], x: Any, weights: Sequence[Any]
) -> Callable[[], Sequence[Any]]:
    return lambda: function(x, *weights)
