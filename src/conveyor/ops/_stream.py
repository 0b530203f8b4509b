"""`conveyor.ops.LSTMStream`: one step at a time."""

from __future__ import annotations

from collections.abc import Callable
from ctypes import c_int64, c_void_p
from typing import Any, NoReturn, Unpack

import keras
import numpy as np

from .._engines import _library, _stream_library, choose_stream
from .._engines._activations import text_of
from .._errors import lesson
from . import _checks
from ._stream_lstm import StreamedLSTM
from ._variants import VariantArguments

_WHERE = "conveyor.ops.LSTMStream"


class LSTMStream:
    """An LSTM that is fed one step at a time: sensors, sound, keystrokes, as they come.

    It computes what `conveyor.ops.lstm` does, on NumPy arrays, whichever framework Keras
    runs on. The weights are copied and packed once; a step of the native engine allocates
    nothing. `LSTMStream(*layer.get_weights())` streams a trained layer of one direction.

    The arrays of a stream are its own and stay where they are: `input`, `hidden_state` and
    `cell_state` may be read and written between steps, and a step overwrites both states.
    What `step` returns is `hidden_state` itself, good until the next step; copy it to keep it.

    A stream belongs to one thread at a time. With several rows it follows several sequences
    at once; all of them make each step.

    Args:
        kernel: (F, 4U) float32, float64 or bfloat16, gates in the order input, forget,
            candidate, output.
        recurrent_kernel: (U, 4U).
        bias: (4U,), or None for no bias.
        batch: B, the number of rows.
        activation: one of Keras's that work on each number by itself.
        recurrent_activation: likewise.
        engine: "auto", "native", or "portable", which is NumPy here; beyond the plain LSTM it is
            `keras.ops`.
        variant: what `conveyor.ops.lstm` takes beyond the plain LSTM: `peephole`,
            `projection_kernel` and so on. With a projection the hidden state is (B, H), as
            there. Zoneout is a number, the part of the old state that is kept.

    Raises:
        ConveyorError: weights whose axes or dtypes do not fit, an activation that it lacks.

    >>> import numpy as np
    >>> from conveyor import ops
    >>> rng = np.random.default_rng(0)
    >>> x, kernel, recurrent_kernel = (rng.normal(size=s) for s in [(5, 3), (3, 16), (4, 16)])
    >>> stream = LSTMStream(kernel, recurrent_kernel)
    >>> for x_t in x:
    ...     h = stream.step(x_t)
    >>> h.shape
    (4,)
    >>> whole = ops.lstm(x[None], kernel, recurrent_kernel, outputs="hidden_state")
    >>> bool(np.allclose(h, whole[0]))
    True
    """

    def __init__(
        self,
        kernel: np.ndarray,
        recurrent_kernel: np.ndarray,
        bias: np.ndarray | None = None,
        *,
        batch: int = 1,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        engine: str = "auto",
        **variant: Unpack[VariantArguments],
    ) -> None:
        weights = {"kernel": kernel, "recurrent_kernel": recurrent_kernel, "bias": bias}
        batch = _checked(batch)
        streamed = StreamedLSTM(weights, activation, recurrent_activation, variant, _WHERE)
        _check_activations(activation, recurrent_activation, variant.get("output_activation"))
        _check_dtype(streamed.dtype)
        features = streamed.features
        self._input = _fixed((batch, features), streamed.dtype)
        self._hidden_state, self._cell_state = (
            _fixed((batch, size), dtype) for size, dtype in streamed.states
        )
        self._dtype, self._shape = streamed.dtype, (batch, features)
        # One row may come and go without its batch axis.
        self._row_shape = (features,) if batch == 1 else None
        self._row = self._hidden_state[0]

        self._engine = choose_stream(streamed.why_not_native, engine, _WHERE)
        arrays = (self._input, self._hidden_state, self._cell_state)
        self._run: Callable[..., int]
        self._arguments: tuple[Any, ...]
        if self._engine.engine == "native":
            stream = _stream_library.free_with(self, streamed.native(batch))
            addresses = (c_void_p(_stream_library.address(a)) for a in arrays)
            self._run = _stream_library.step()
            self._arguments = (stream, c_int64(batch), *addresses)
        else:
            self._run, _ = streamed.portable()
            self._arguments = arrays

    def step(self, x: np.ndarray) -> np.ndarray:
        """Read one step of every row.

        Args:
            x: (B, F) in the dtype of the weights, or (F,) where the stream has one row.
                It is copied, unless it is `stream.input`, filled in place.

        Returns:
            (B, U), or (U,) for (F,): `hidden_state`, which the next step overwrites; H for U
            where there is a projection.
        """
        # All of this is a quarter of a microsecond, which is what a small step takes.
        h = self._hidden_state
        if x is not self._input:
            if type(x) is not np.ndarray or x.dtype != self._dtype:
                self._refuse(x)
            if x.shape == self._row_shape:
                h = self._row
            elif x.shape != self._shape:
                self._refuse(x)
            self._input[...] = x
        if self._run(*self._arguments):
            raise _library.refusal()
        return h

    @property
    def input(self) -> np.ndarray:
        """(B, F) what the next step reads: write into it, then `stream.step(stream.input)`."""
        return self._input

    @property
    def hidden_state(self) -> np.ndarray:
        """(B, U), or (B, H), after the last step; the stream's own."""
        return self._hidden_state

    @property
    def cell_state(self) -> np.ndarray:
        """(B, U) after the last step; the stream's own, float32 beside bfloat16 weights."""
        return self._cell_state

    @property
    def states(self) -> tuple[np.ndarray, np.ndarray]:
        """Copies of (hidden_state, cell_state), to keep; set it to go on from there."""
        return self._hidden_state.copy(), self._cell_state.copy()

    @states.setter
    def states(self, states: tuple[np.ndarray, np.ndarray]) -> None:
        hidden_state, cell_state = states
        given: dict[str, Any] = {"hidden_state": hidden_state, "cell_state": cell_state}
        _checks.check_arrays(given, _WHERE)
        (batch, hidden), (_, units) = self._hidden_state.shape, self._cell_state.shape
        axis = "units" if hidden == units else "projection"
        _checks.check_state(hidden_state, "hidden_state", batch, hidden, _WHERE, axis)
        _checks.check_state(cell_state, "cell_state", batch, units, _WHERE)
        self._hidden_state[...] = hidden_state
        self._cell_state[...] = cell_state

    def reset(self, rows: Any = None) -> None:
        """Begin new sequences: zero states.

        Args:
            rows: which rows, as NumPy indexes them: 2, [0, 3], a slice, (B,) booleans. All if
                None.
        """
        which = slice(None) if rows is None else rows
        self._hidden_state[which] = 0
        self._cell_state[which] = 0

    def explain_engine(self) -> str:
        """Which engine runs the steps, and why no faster one does."""
        return str(self._engine)

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a stream is neither copied nor pickled; make another one from the same weights "
            "and write other.states = stream.states"
        )

    def _refuse(self, x: Any) -> NoReturn:
        batch, features = self._shape
        or_row = f" or ({features},)" if self._row_shape else ""
        got = (
            f"shape {tuple(x.shape)} in {x.dtype}"
            if isinstance(x, np.ndarray)
            else type(x).__name__
        )
        raise lesson(
            f"{_WHERE}.step",
            f"a NumPy array of shape (batch, features) = ({batch}, {features}){or_row} "
            f"in {self._dtype}",
            got,
            f'Write np.asarray(x, "{self._dtype}"); other rows or features are another stream.',
        )


def _checked(batch: int) -> int:
    if isinstance(batch, (int, np.integer)) and not isinstance(batch, bool) and batch >= 1:
        return int(batch)
    raise lesson(_WHERE, "batch to be a positive number of rows", repr(batch), "Write batch=1.")


def _check_dtype(dtype: np.dtype) -> None:
    if dtype.name not in _library.DTYPES:
        raise lesson(
            _WHERE,
            f"weights in {', '.join(_library.DTYPES)}",
            dtype.name,
            'Write kernel.astype("float32"), and so on.',
        )


def _check_activations(activation: Any, recurrent_activation: Any, output_activation: Any) -> None:
    given = {
        "activation": activation,
        "recurrent_activation": recurrent_activation,
        "output_activation": output_activation,
    }
    for name, one in given.items():
        if one is not None and text_of(keras.activations.get(one)) is None:
            raise lesson(
                _WHERE,
                f"{name} to be one of Keras's that work on each number by itself",
                f"{name}={getattr(one, '__name__', repr(one))}",
                "conveyor.ops.lstm takes any function, on whole sequences.",
            )


def _fixed(shape: tuple[int, int], dtype: np.dtype) -> np.ndarray:
    """Zeros that nothing can move: no array that owns its memory, which could be resized."""
    return np.zeros(shape, dtype)[:]
