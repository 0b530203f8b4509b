"""From x W and h' R to what the gates are functions of, over all steps, and back at one step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ._layer_norm import normalise
from ._state_gradients import Array


class IntoGates:
    """x W + h' R + b, or what a layer normalisation makes of it; without peepholes and bounds.

    Args:
        given: the weights as `ops.lstm` has them, in float64.
        z_x, z_h: x W and h' R, (T, B, gates * U).
        gates: how many there are, the candidate among them.

    Attributes:
        z: (T, B, gates * U).
    """

    def __init__(self, given: Mapping[str, Any], z_x: Array, z_h: Array, gates: int) -> None:
        self._scale = given.get("gate_scale")
        self._gates = gates
        if self._scale is None:
            self.z = z_x + z_h
        elif self._scale.ndim == 2:
            self._of_x, self._of_h = normalise(z_x), normalise(z_h)
            self.z = self._of_x.values * self._scale[0] + self._of_h.values * self._scale[1]
        else:
            self._of_both = normalise(self._by_gate(z_x + z_h))
            self.z = self._of_both.values.reshape(z_x.shape) * self._scale
        if given["bias"] is not None:
            self.z = self.z + given["bias"]

    def back(self, t: int, d_z: Array) -> tuple[Array, Array]:
        """The gradients of x W and of h' R at step t, (B, gates * U) each."""
        if self._scale is None:
            return d_z, d_z
        if self._scale.ndim == 2:
            of_x, of_h = self._scale
            return self._of_x.back(d_z * of_x, t), self._of_h.back(d_z * of_h, t)
        d = self._of_both.back(self._by_gate(d_z * self._scale), t).reshape(d_z.shape)
        return d, d

    def _by_gate(self, z: Array) -> Array:
        """(..., gates, U)"""
        return np.reshape(z, (*z.shape[:-1], self._gates, -1))
