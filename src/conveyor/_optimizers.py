"""Keras's optimizers, as fast on each framework as that allows."""

from __future__ import annotations

from typing import Any

import keras

from ._engines import glue


def adam(**settings: Any) -> keras.optimizers.Optimizer:
    """`keras.optimizers.Adam` with these settings."""
    return _made(keras.optimizers.Adam, settings)


def adamw(**settings: Any) -> keras.optimizers.Optimizer:
    """`keras.optimizers.AdamW` with these settings."""
    return _made(keras.optimizers.AdamW, settings)


def _made(optimizer: type, settings: dict[str, Any]) -> keras.optimizers.Optimizer:
    made: keras.optimizers.Optimizer = glue.active().in_one_pass(optimizer)(**settings)
    return made
