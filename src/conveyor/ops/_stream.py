"""`conveyor.ops.LSTMStream`: one step at a time."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from ctypes import c_int64, c_void_p
from typing import Any, NoReturn

import keras
import numpy as np

from .. import _engines
from .._engines import _library, _native, _native_numpy
from .._engines._activations import text_of
from .._engines._options import Options
from .._errors import lesson
from . import _checks
from ._stream_in_numpy import numpy_step

Weights = dict[str, Any]

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
        activation: tanh, sigmoid, hard_sigmoid, relu or linear.
        recurrent_activation: likewise.
        engine: "auto", "native", or "portable", which is NumPy here.

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
    ) -> None:
        weights: Weights = {"kernel": kernel, "recurrent_kernel": recurrent_kernel, "bias": bias}
        problem = problem_of(weights, batch, activation, recurrent_activation)
        dtype = _native_numpy.numpy_dtype(problem.dtype)
        weights = {
            n: None if a is None else _native_numpy.dense(a, dtype) for n, a in weights.items()
        }
        batch, features, units = problem.batch, problem.features, problem.units
        state_dtype = np.dtype("float32") if dtype.itemsize == 2 else dtype
        self._input = _fixed((batch, features), dtype)
        self._hidden_state = _fixed((batch, units), dtype)
        self._cell_state = _fixed((batch, units), state_dtype)
        self._problem, self._dtype, self._shape = problem, dtype, (batch, features)
        # One row may come and go without its batch axis.
        self._row_shape = (features,) if batch == 1 else None
        self._row = self._hidden_state[0]

        self._engine = decide(engine)
        arrays = (self._input, self._hidden_state, self._cell_state)
        self._run: Callable[..., int]
        self._arguments: tuple[Any, ...]
        if self._engine.engine == "native":
            self._run, self._arguments = self._native_step(problem, weights, arrays)
        else:
            self._run, self._arguments = numpy_step(problem, weights), arrays

    def step(self, x: np.ndarray) -> np.ndarray:
        """Read one step of every row.

        Args:
            x: (B, F) in the dtype of the weights, or (F,) where the stream has one row.
                It is copied, unless it is `stream.input`, filled in place.

        Returns:
            (B, U), or (U,) for (F,): `hidden_state`, which the next step overwrites.
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
        status = self._run(*self._arguments)
        if status:
            _library.refuse(status, self._problem)
        return h

    @property
    def input(self) -> np.ndarray:
        """(B, F) what the next step reads: write into it, then `stream.step(stream.input)`."""
        return self._input

    @property
    def hidden_state(self) -> np.ndarray:
        """(B, U) after the last step; the stream's own."""
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
        batch, units = self._hidden_state.shape
        given: dict[str, Any] = {"hidden_state": hidden_state, "cell_state": cell_state}
        _checks.check_arrays(given, _WHERE)
        for name, state in given.items():
            _checks.check_state(state, name, batch, units, _WHERE)
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

    def _native_step(
        self, problem: _library.Problem, weights: Weights, arrays: tuple[np.ndarray, ...]
    ) -> tuple[Callable[..., int], tuple[Any, ...]]:
        stream = new_stream(self, problem, weights)
        addresses = (c_void_p(_address(a)) for a in arrays)
        return _library.stream_step(), (c_void_p(stream), c_int64(problem.batch), *addresses)

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


def decide(engine: str) -> _engines.Decision:
    """Which engine runs the steps of a stream."""
    _engines.check_name(engine, _WHERE)
    if engine == "portable":
        return _engines.Decision("portable", {})
    missing = _native.missing()
    if missing is None:
        return _engines.Decision("native", {})
    return _engines.Decision("portable", {"native": missing})


def new_stream(owner: Any, problem: _library.Problem, weights: Weights) -> int:
    """A stream of the core's, which goes when its owner does."""
    stream = _library.new_stream(problem, {n: _address(a) for n, a in weights.items()})
    weakref.finalize(owner, _library.free_stream, stream)
    return stream


def problem_of(
    weights: Weights, batch: int, activation: Any, recurrent_activation: Any
) -> _library.Problem:
    """What is to be computed; everything is checked."""
    if not isinstance(batch, (int, np.integer)) or isinstance(batch, bool) or batch < 1:
        raise lesson(_WHERE, "batch to be a positive number of rows", repr(batch), "Write batch=1.")
    _checks.check_arrays(weights, _WHERE)
    kernel, recurrent_kernel = weights["kernel"], weights["recurrent_kernel"]
    if kernel.ndim != 2:
        raise lesson(
            _WHERE,
            "kernel of shape (features, 4 * units)",
            f"shape {kernel.shape}",
            "Write LSTMStream(*layer.get_weights()).",
        )
    features = kernel.shape[0]
    # The checks of `ops.lstm`, for which x only needs a shape and a dtype.
    x = np.broadcast_to(np.zeros((), kernel.dtype), (batch, 1, features))
    _checks.check_shapes({"x": x, **dict.fromkeys(_ABSENT), **weights}, False, _WHERE)
    _checks.check_dtypes({"x": x, **weights}, _WHERE)
    if x.dtype.name not in _library.DTYPES:
        raise lesson(
            _WHERE,
            f"weights in {', '.join(_library.DTYPES)}",
            x.dtype.name,
            'Write kernel.astype("float32"), and so on.',
        )
    return _library.Problem(
        x.dtype.name,
        int(batch),
        1,
        features,
        recurrent_kernel.shape[0],
        Options(
            _activation_name(activation, "activation"),
            _activation_name(recurrent_activation, "recurrent_activation"),
            _activation_name(activation, "activation"),
        ),
    )


_ABSENT = ("hidden_state", "cell_state", "dropout_mask", "recurrent_dropout_mask")


def _activation_name(activation: Any, name: str) -> str:
    known = text_of(keras.activations.get(activation))
    if known:
        return known
    raise lesson(
        _WHERE,
        f"{name} to be one of Keras's that work on each number by itself",
        f"{name}={getattr(activation, '__name__', repr(activation))}",
        "conveyor.ops.lstm takes any function, on whole sequences.",
    )


def _fixed(shape: tuple[int, int], dtype: np.dtype) -> np.ndarray:
    """Zeros that nothing can move: no array that owns its memory, which could be resized."""
    return np.zeros(shape, dtype)[:]


def _address(array: np.ndarray | None) -> int:
    return 0 if array is None else int(array.ctypes.data)
