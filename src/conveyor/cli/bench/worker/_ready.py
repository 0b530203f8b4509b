"""What a peer makes of a job."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import _variants
from .._job import Job, arrays

Arrays = dict[str, np.ndarray]

# The gradients that every peer returns in training, in this order.
GRADIENTS = ("d_x", "d_kernel", "d_recurrent_kernel", "d_bias")


def gradients_of(weights: Sequence[str]) -> tuple[str, ...]:
    """The same with other weights."""
    return ("d_x", *(f"d_{name}" for name in weights))


def variant_arrays(job: Job) -> tuple[Arrays, tuple[str, ...], Arrays]:
    """Of a job beyond the plain LSTM: all arrays, the names of weights, and what is not trained."""
    rng = np.random.default_rng(2)
    weights, constants = _variants.weights(job, rng), _variants.constants(job, rng)
    b, t, h = job.batch, job.time_steps, _variants.hidden_size(job)
    cotangent = rng.standard_normal((b, t, h), "float32")
    given = {"x": arrays(job)["x"], "cotangent": cotangent, **weights}
    return given, tuple(weights), constants


@dataclass(frozen=True)
class Ready:
    """A job that is ready: inputs and weights are there, in the peer's own form."""

    run: Callable[[], Any]  # returns when the result is there
    values: Callable[[Any], Arrays]  # of a result: by conveyor's names, in Keras's layout
    parts: int = 1  # computations of the job in one run; the time is divided by it
