"""What is run: one LSTM of one size, and the arrays that every peer gets for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..._vocabulary import StateName

Mode = Literal["inference", "training", "stream", "fit"]
DType = Literal["float32", "bfloat16"]
# "full" masks nothing, "holes" a fifth of the steps, "half" the second half of each
# sequence; "ragged" gives each sequence a length of its own, half of T on average.
Mask = Literal["none", "full", "holes", "half", "ragged"]

MODES: tuple[Mode, ...] = ("inference", "training")


@dataclass(frozen=True)
class Job:
    """One computation. All peers that can do it do the same.

    inference: hidden_states (and the other `outputs`) from x and the weights.
    training: that, and the gradients of x, kernel, recurrent_kernel and bias of
        sum(hidden_states * cotangent) for a given cotangent.
    stream: `time_steps` calls of one step each; the time is that of one call.
    fit: `model.fit` of a classifier of two such layers; the time is that of one batch.
    """

    batch: int
    time_steps: int
    features: int
    units: int
    mode: Mode = "inference"
    dtype: DType = "float32"
    outputs: tuple[StateName, ...] = ("hidden_states",)
    mask: Mask = "none"
    variant: str = ""  # beyond the plain LSTM, see _variants

    @property
    def size(self) -> str:
        """The four axes as one word."""
        return f"{self.batch}x{self.time_steps}x{self.features}x{self.units}"

    @property
    def flops(self) -> float:
        """Of its matrix products; the backward pass has two for each of the forward pass."""
        steps = 1 if self.mode == "stream" else self.time_steps
        forward = 2.0 * self.batch * steps * 4 * self.units * (self.features + self.units)
        return 3 * forward if self.mode == "training" else forward


def job_from_json(fields: dict[str, Any]) -> Job:
    """The job whose `dataclasses.asdict` went through JSON."""
    return Job(**{**fields, "outputs": tuple(fields["outputs"])})


def arrays(job: Job) -> dict[str, np.ndarray]:
    """x, kernel, recurrent_kernel, bias, cotangent: float32, the same in every process."""
    b, t, f, u = job.batch, job.time_steps, job.features, job.units
    rng = np.random.default_rng([b, t, f, u])

    def weights(*shape: int) -> np.ndarray:
        return (2 * rng.random(shape, "float32") - 1) / np.float32(np.sqrt(u))

    return {
        "x": rng.standard_normal((b, t, f), "float32"),
        "kernel": weights(f, 4 * u),
        "recurrent_kernel": weights(u, 4 * u),
        "bias": weights(4 * u),
        "cotangent": rng.standard_normal((b, t, u), "float32"),
    }


def masking(job: Job) -> dict[str, np.ndarray]:
    """What `ops.lstm` gets beside the weights: `mask`, `lengths`, or nothing."""
    b, t = job.batch, job.time_steps
    rng = np.random.default_rng(1)
    if job.mask == "full":
        return {"mask": np.ones((b, t), bool)}
    if job.mask == "holes":
        return {"mask": rng.random((b, t)) < 0.8}
    if job.mask == "half":
        return {"lengths": np.full(b, t // 2, "int32")}
    if job.mask == "ragged":
        # Evenly spread, so that the mean is half of T for any batch.
        spread = np.linspace(0, t, b + 2)[1:-1].round().astype("int32")
        return {"lengths": rng.permutation(spread)}
    return {}
