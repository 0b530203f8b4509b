"""What a peer makes of a job."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]

# The gradients that every peer returns in training, in this order.
GRADIENTS = ("d_x", "d_kernel", "d_recurrent_kernel", "d_bias")


@dataclass(frozen=True)
class Ready:
    """A job that is ready: inputs and weights are there, in the peer's own form."""

    run: Callable[[], Any]  # returns when the result is there
    values: Callable[[Any], Arrays]  # of a result: by conveyor's names, in Keras's layout
    parts: int = 1  # computations of the job in one run; the time is divided by it
