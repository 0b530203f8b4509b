"""From the cell state to the hidden state, over all steps, and back."""

from __future__ import annotations

from collections.abc import Mapping
from types import EllipsisType
from typing import Any

from ._layer_norm import normalise
from ._state_gradients import Array, slope_in_float64
from ._worked_inputs import apply


class WayOut:
    """h = (o * psi(u)) P before zoneout, u = (LN(c) s + s') W5 + b5, each part if it is there.

    Args:
        given: the weights as `ops.lstm` has them, in float64, and the activations.
        o, c: (T, B, U), the output gates, and the cell states before zoneout.
    """

    def __init__(self, given: Mapping[str, Any], o: Array, c: Array) -> None:
        self._o, self._normalised = o, None
        self._scale, self._kernel = given.get("cell_scale"), given.get("output_kernel")
        self._projection = given.get("projection_kernel")
        if self._scale is not None:
            self._normalised = normalise(c)
            c = self._normalised.values * self._scale + given["cell_shift"]
        if self._kernel is not None:
            c = c @ self._kernel + given["output_bias"]
        psi = given.get("output_activation") or given["activation"]
        self._shown, self._slope = apply(psi, c), slope_in_float64(psi, c)

    def back(self, t: int | EllipsisType, d_h: Array) -> tuple[Array, Array]:
        """The gradients of o and of c at step t, (B, U) each, from that of h (B, H).

        With ... for t of all steps at once.
        """
        if self._projection is not None:
            d_h = d_h @ self._projection.T
        d_c = d_h * self._o[t] * self._slope[t]
        if self._kernel is not None:
            d_c = d_c @ self._kernel.T
        if self._normalised is not None:
            d_c = self._normalised.back(d_c * self._scale, t)
        return d_h * self._shown[t], d_c
