"""Adam as the settings of a training say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from .._optimizers import adam, adamw
from ._config import TrainingConfig


def optimizer_for(config: TrainingConfig) -> keras.optimizers.Optimizer:
    """Adam (Kingma & Ba 2015), or AdamW (Loshchilov & Hutter 2019), which spares biases.

    Keras's own: it clips, accumulates and averages, too.

    >>> optimizer_for(TrainingConfig(accumulate=4)).gradient_accumulation_steps
    4
    """
    shared: dict[str, Any] = {
        "learning_rate": config.learning_rate,
        "beta_1": config.beta_1,
        "beta_2": config.beta_2,
        "global_clipnorm": config.clip_norm,
        "gradient_accumulation_steps": config.accumulate if config.accumulate > 1 else None,
        "use_ema": config.moving_average > 0,
        "ema_momentum": config.moving_average,
    }
    if config.optimizer == "adam":
        return adam(**shared)
    optimizer = adamw(weight_decay=config.weight_decay, **shared)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    return optimizer


@contextmanager
def averaged(optimizer: keras.optimizers.Optimizer, variables: Sequence[Any]) -> Iterator[None]:
    """Meanwhile the variables have their moving averages, where the optimizer keeps such."""
    if not optimizer.use_ema:
        yield
        return
    own = _copies(variables)
    optimizer.finalize_variable_values(variables)
    # On JAX variable and average are now one array, which an evaluation gives away with the
    # variable.
    _assign(variables, _copies(variables))
    try:
        yield
    finally:
        _assign(variables, own)


def _copies(variables: Sequence[Any]) -> list[NDArray[Any]]:
    return [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]


def _assign(variables: Sequence[Any], values: Sequence[NDArray[Any]]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
