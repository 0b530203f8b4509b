"""Every conversion is run on both sides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .._errors import ConveyorError
from ._gru_reference import gru_hidden_states
from ._gru_weights import GRUWeights
from ._reference import hidden_states
from ._weights import LSTMWeights

# Batch and steps of the random input: enough for every gate to matter many times over.
_BATCH, _STEPS = 3, 7
_TOLERANCE = {"float32": 1e-5, "float64": 1e-10}
# Layer normalisation of few numbers, nearly equal, divides their rounding by sqrt(1e-5).
_NORMALISED = 100

Run = Callable[[np.ndarray], np.ndarray | None]


@dataclass(frozen=True)
class Proof:
    """What both sides of a conversion computed from one random batch.

    Attributes:
        weights: what was converted.
        differences: the largest difference of hidden states from the equations in float64, by
            what ran; None where it is not installed.
    """

    weights: LSTMWeights | GRUWeights
    differences: dict[str, float | None]

    @property
    def largest_difference(self) -> float:
        """Of all that ran."""
        return max((d for d in self.differences.values() if d is not None), default=0.0)

    def __str__(self) -> str:
        sides = ", ".join(
            f"{side} {'not run' if d is None else f'{d:.1e}'}"
            for side, d in self.differences.items()
        )
        return f"{self.weights}; largest difference from the equations: {sides}"


def prove(weights: LSTMWeights | GRUWeights, sides: dict[str, Run]) -> Proof:
    """Run all sides on one random batch, and compare their hidden states.

    Raises:
        ConveyorError: they do not agree; a fault of conveyor's, as nothing else is left.
    """
    rng = np.random.default_rng(0)
    x = rng.normal(size=(_BATCH, _STEPS, weights.features)).astype(weights.dtype)
    if isinstance(weights, GRUWeights):
        expected = gru_hidden_states(weights, x)
    else:
        expected = hidden_states(weights, x)
    differences: dict[str, float | None] = {}
    for side, run in sides.items():
        actual = run(x)
        differences[side] = None if actual is None else float(np.abs(actual - expected).max())
    proof = Proof(weights, differences)
    scale = max(1.0, float(np.abs(expected).max()))
    if weights.has("gate_scale") or weights.has("cell_scale"):
        scale *= _NORMALISED
    if not proof.largest_difference <= _TOLERANCE[weights.dtype.name] * scale:
        raise ConveyorError(
            f"conveyor.convert: the two sides do not agree: {proof}.\n"
            "Weights that are not finite, or a fault of conveyor's: please report it."
        )
    return proof
