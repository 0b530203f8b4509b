"""What one window does to a model: a step of its training, or reading alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from .._engines import glue
from ._carried import CarriedStates


def step_of(model: Any, carried: CarriedStates, skips: bool) -> Callable[..., Any]:
    """In the place of `model.train_step`, for what `Windows` yields.

    Args:
        model: its own step is what trains.
        carried: the states between windows.
        skips: whether there are windows without any loss. The model reads those as `predict`
            would, and the optimizer makes no step.
    """
    own = model.train_step

    def train_step(*arguments: Any) -> Any:
        *state, data = arguments  # JAX hands the state of all variables along
        (x, first, learns), *rest = data
        with carried.window(first):
            if not skips:
                return own(*state, (x, *rest))
            return ops.cond(
                ops.any(learns), lambda: own(*state, (x, *rest)), lambda: read(*state, x)
            )

    def read(*arguments: Any) -> Any:
        if keras.backend.backend() != "jax":
            with glue.active().without_gradients():
                model(arguments[0], training=False)
            return model.get_metrics_result()
        (trainable, others, optimizer, metrics), x = arguments
        _, others = model.stateless_call(trainable, others, x, training=False)
        mapping = list(zip(model.metrics_variables, metrics, strict=True))
        with keras.StatelessScope(state_mapping=mapping):
            logs = model.get_metrics_result()
        return logs, (trainable, others, optimizer, metrics)

    return train_step
