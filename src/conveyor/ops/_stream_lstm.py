"""What a stream computes: an LSTM with whatever it has beyond the plain one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from .._engines import _library, _native, _native_numpy, _stream_library
from .._engines._options import Options, named
from .._engines._variant import PLAIN
from .._errors import lesson
from . import _checks
from ._lstm import lstm
from ._stream_in_numpy import lstm_step_in_numpy
from ._variants import (
    WEIGHTS,
    ZONEOUTS,
    VariantArguments,
    arrays_of,
    as_activation,
    as_variant,
    check_variant,
    with_input_gate_in_numpy,
)

Array = np.ndarray
# Size and dtype of each state.
Sizes = tuple[tuple[int, np.dtype], ...]
# Overwrites the states after x; 0, as the core's.
Step = Callable[..., int]
# The states after every step, (T, B, ...), of x (T, B, F) and mask (T, B); the last are left in
# those that it is given.
Feed = Callable[..., tuple[Array, ...]]


class StreamedLSTM:
    """The weights, checked and copied, and what makes its steps.

    Args:
        weights: kernel (F, 4U), recurrent_kernel (H, 4U) and bias (4U,), or None for none.
        activation, recurrent_activation, variant: see `conveyor.ops.lstm`.
        where: to put before an error.

    Attributes:
        dtype: of the weights, of x, and of what a layer returns.
        features: F.
        states: size and dtype of the hidden and of the cell state.
    """

    def __init__(
        self,
        weights: dict[str, Any],
        activation: Any,
        recurrent_activation: Any,
        variant: VariantArguments,
        where: str,
    ) -> None:
        check_variant(variant, where)
        arrays = {**weights, **arrays_of(variant)}
        _check(arrays, bool(variant.get("coupled")), where)
        self.dtype = _native_numpy.numpy_dtype(weights["kernel"].dtype.name)
        self._arrays: dict[str, Array] = {
            n: np.array(a, self.dtype, order="C") for n, a in arrays.items() if a is not None
        }
        self._variant = as_variant(variant)
        self._phi, self._sigma = map(keras.activations.get, (activation, recurrent_activation))
        psi = as_activation(variant)
        self._psi = self._phi if psi is None else psi
        beyond = self._arrays.keys() & set(WEIGHTS)
        self._plain = self._variant == PLAIN and self._psi is self._phi and not beyond
        self._exact = np.promote_types(self.dtype, np.float32)
        self.features = len(self._arrays["kernel"])
        hidden, gates = self._arrays["recurrent_kernel"].shape
        self._units = gates // (3 if self._variant.coupled else 4)
        self.states: Sizes = ((int(hidden), self.dtype), (self._units, self._exact))

    def why_not_native(self) -> str | None:
        """Why its steps are not made by the native engine."""
        why = _native.why_never_in(self.dtype.name, self._phi, self._sigma, self._psi)
        return why or (None if self._plain else _stream_library.missing())

    def native(self, batch: int) -> int:
        """A stream of the core's for up to so many rows."""
        arrays = self._arrays
        problem = _library.Problem(
            self.dtype.name,
            batch,
            1,
            self.features,
            self._units,
            Options(named(self._phi), named(self._sigma), named(self._psi), variant=self._variant),
            **_native.beyond(arrays),
        )
        if self._variant.coupled:
            arrays = with_input_gate_in_numpy(arrays)
        return _stream_library.new_lstm(
            problem, {n: _stream_library.address(a) for n, a in arrays.items()}
        )

    def portable(self) -> tuple[Step, Feed | None]:
        """A step in NumPy, beyond the plain LSTM by `ops.lstm`, and several at once."""
        arrays = {n: a.astype(self._exact) for n, a in self._arrays.items()}
        if self._plain:
            return lstm_step_in_numpy(arrays, self._phi, self._sigma), None
        given = {
            **arrays,
            "activation": self._phi,
            "recurrent_activation": self._sigma,
            "output_activation": self._psi,
            "coupled": self._variant.coupled,
            "clip": self._variant.clip or None,
            "cell_clip": self._variant.cell_clip or None,
            **{name: getattr(self._variant, name) for name in ZONEOUTS},
            "engine": "portable",
        }

        def run(x: Array, mask: Array | None, states: tuple[Array, ...], names: Any) -> Any:
            h, c = (state.astype(self._exact) for state in states)
            x = np.ascontiguousarray(x, self._exact)
            made = lstm(x, hidden_state=h, cell_state=c, mask=mask, outputs=names, **given)
            for state, last in zip(states, made, strict=False):
                state[...] = last
            return made[2:]

        def step(x: Array, *states: Array) -> int:
            run(x[:, None], None, states, ("hidden_state", "cell_state"))
            return 0

        def feed(x: Array, mask: Array | None, *states: Array) -> tuple[Array, ...]:
            over_time = None if mask is None else mask.swapaxes(0, 1)
            names = ("hidden_state", "cell_state", "hidden_states", "cell_states")
            every = run(x.swapaxes(0, 1), over_time, states, names)
            return tuple(state.swapaxes(0, 1) for state in every)

        # In 16 bits the hidden state is rounded after every step.
        return step, feed if self.dtype == self._exact else None


def _check(arrays: dict[str, Any], coupled: bool, where: str) -> None:
    """The checks of `ops.lstm`, for which x only needs a shape and a dtype."""
    _checks.check_arrays(arrays, where)
    kernel, gates = arrays["kernel"], 3 if coupled else 4
    if len(kernel.shape) != 2:
        raise lesson(
            where,
            f"kernel of shape (features, {gates} * units)",
            f"shape {tuple(kernel.shape)}",
            "Write LSTMStream(*layer.get_weights()).",
        )
    for name in ZONEOUTS:
        if arrays[name] is not None:
            raise lesson(
                where,
                f"{name} to be a number, the part of the old state to keep",
                f"an array of shape {tuple(arrays[name].shape)}",
                f"Write {name}=0.1: what is drawn for each step belongs to training.",
            )
    x = np.broadcast_to(np.zeros((), kernel.dtype), (1, 1, kernel.shape[0]))
    absent = ("hidden_state", "cell_state", "dropout_mask", "recurrent_dropout_mask")
    _checks.check_shapes({"x": x, **dict.fromkeys(absent), **arrays}, coupled, where)
    _checks.check_dtypes({"x": x, **arrays}, where)
