"""What a stream computes: a GRU."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._engines import _gru_library, _native, _native_numpy, _stream_library
from .._engines._gru_options import GRUOptions
from .._engines._options import named
from ._gru_in_numpy import GRUSteps
from ._stream_lstm import Array, Feed, Sizes, Step


class StreamedGRU:
    """What `StreamedLSTM` is for an LSTM.

    Args:
        weights: kernel (F, 3U), recurrent_kernel (U, 3U), and bias or None, as a built layer has
            them.
        activation, recurrent_activation: functions of Keras, or any.
        reset_after: see `conveyor.GRU`.

    Attributes:
        dtype: of the weights, of x, and of what a layer returns.
        features: F.
        states: size and dtype of the hidden state: float32 where the layer computes in 16 bits.
    """

    def __init__(
        self,
        weights: dict[str, Any],
        activation: Any,
        recurrent_activation: Any,
        reset_after: bool,
    ) -> None:
        self.dtype = _native_numpy.numpy_dtype(weights["kernel"].dtype.name)
        self._arrays = {
            n: np.array(a, self.dtype, order="C") for n, a in weights.items() if a is not None
        }
        self._phi, self._sigma, self._reset_after = activation, recurrent_activation, reset_after
        self.features = len(self._arrays["kernel"])
        self._units = len(self._arrays["recurrent_kernel"])
        self._exact = np.promote_types(self.dtype, np.float32)
        self.states: Sizes = ((self._units, self._exact),)

    def why_not_native(self) -> str | None:
        """Why its steps are not made by the native engine."""
        why = _native.why_never_in(self.dtype.name, self._phi, self._sigma)
        return why or _stream_library.missing()

    def native(self, batch: int) -> int:
        """A stream of the core's for up to so many rows."""
        problem = _gru_library.Problem(
            self.dtype.name,
            batch,
            1,
            self.features,
            self._units,
            GRUOptions(named(self._phi), named(self._sigma), self._reset_after),
        )
        return _stream_library.new_gru(
            problem, {n: _stream_library.address(a) for n, a in self._arrays.items()}
        )

    def portable(self) -> tuple[Step, Feed | None]:
        """A step in NumPy, and several, whose inputs are projected at once."""
        steps = GRUSteps(
            self._arrays["kernel"],
            self._arrays["recurrent_kernel"],
            self._arrays.get("bias"),
            activation=self._phi,
            recurrent_activation=self._sigma,
            reset_after=self._reset_after,
        )

        def step(x: Array, hidden_state: Array) -> int:
            hidden_state[...] = steps(steps.project(x), hidden_state)
            return 0

        def feed(x: Array, mask: Array | None, hidden_state: Array) -> tuple[Array, ...]:
            projected, h = steps.project(x), hidden_state
            every = np.empty((*x.shape[:2], self._units), self._exact)
            for t in range(len(x)):
                after = steps(projected[t], h)
                h = after if mask is None else np.where(mask[t][:, None], after, h)
                every[t] = h
            hidden_state[...] = h
            return (every,)

        return step, feed
