"""Steps of a GRU in NumPy, for streams: the equations of `_engines/_portable_gru.py`."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._stream_in_numpy import in_numpy

Array = np.ndarray


class GRUSteps:
    """The weights of a GRU, ready for steps of any number of rows.

    Args:
        kernel: (F, 3U), gates in the order update, reset, candidate.
        recurrent_kernel: (U, 3U).
        bias: (2, 3U) with reset_after, else (3U,); None for no bias.
        activation, recurrent_activation: functions of Keras, or any.
        reset_after: see `conveyor.GRU`.

    Attributes:
        dtype: of the weights, and of the hidden states that a layer returns.
        exact: in which it computes and states are kept: float32 beside 16 bits.
    """

    def __init__(
        self,
        kernel: Array,
        recurrent_kernel: Array,
        bias: Array | None,
        *,
        activation: Any,
        recurrent_activation: Any,
        reset_after: bool,
    ) -> None:
        self.dtype = kernel.dtype
        self.exact = np.promote_types(self.dtype, np.float32)
        kernel, recurrent_kernel = kernel.astype(self.exact), recurrent_kernel.astype(self.exact)
        self.units = units = len(recurrent_kernel)
        self._kernel, self._reset_after = kernel, reset_after
        self._at_once = recurrent_kernel if reset_after else recurrent_kernel[:, : 2 * units].copy()
        self._of_candidate = recurrent_kernel[:, 2 * units :].copy()
        self._sigma, self._phi = in_numpy(recurrent_activation), in_numpy(activation)
        # Both biases of the gates are added to x W; that of h' R stays inside of the reset.
        of_input: Array = np.zeros(3 * units, self.exact)
        self._inside: Array = np.zeros(units, self.exact)
        if bias is not None and reset_after:
            of_state = bias[1].astype(self.exact)
            of_input += bias[0].astype(self.exact)
            of_input[: 2 * units] += of_state[: 2 * units]
            self._inside = of_state[2 * units :]
        elif bias is not None:
            of_input += bias.astype(self.exact)
        self._bias = of_input

    def project(self, x: Array) -> Array:
        """(..., F) to x W + b, (..., 3U): for as many steps at once as there are."""
        return np.asarray(x.astype(self.exact, copy=False) @ self._kernel + self._bias)

    def __call__(self, projected: Array, hidden_state: Array) -> Array:
        """The states after a step, of (B, 3U) and (B, U)."""
        units, before = self.units, hidden_state
        # As the kernel reads it: a layer in 16 bits has rounded it.
        read = before if self.dtype == self.exact else self._rounded(before)
        products = read @ self._at_once
        gates = projected[:, : 2 * units] + products[:, : 2 * units]
        gates = self._sigma(gates.reshape(-1, 2, units))
        z, r = gates[:, 0], gates[:, 1]
        if self._reset_after:
            inside = r * (products[:, 2 * units :] + self._inside)
        else:
            inside = self._rounded(r) * read @ self._of_candidate
        g = self._phi(projected[:, 2 * units :] + inside)
        return np.asarray(z * before + (1 - z) * g)

    def _rounded(self, values: Array) -> Array:
        return values.astype(self.dtype, copy=False).astype(self.exact, copy=False)
