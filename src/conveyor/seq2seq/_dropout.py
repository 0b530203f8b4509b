"""Dropout of whole features of a sequence."""

from __future__ import annotations

import random
from typing import Any

import keras


def dropout(rate: float, dtype: Any) -> keras.layers.Layer:
    """Dropout on (B, T, F) whose mask, one a sequence, is shared over time.

    Gal & Ghahramani 2016 (doi:10.48550/arXiv.1512.05287). T times fewer random numbers, too,
    which on a CPU cost as much as a small matrix product.
    """
    return keras.layers.Dropout(rate, noise_shape=(None, 1, None), seed=drawn_seed(), dtype=dtype)


def drawn_seed() -> int:
    """A seed, as Keras draws one where none is given.

    Said aloud, because otherwise Keras on PyTorch takes random numbers whose state no variable
    holds: a training could not go on from a checkpoint as if nothing had happened.
    """
    return random.randint(1, 10**9)
