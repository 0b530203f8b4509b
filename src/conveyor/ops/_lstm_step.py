"""`conveyor.ops.lstm_step`: one time step as a pure function."""

from __future__ import annotations

from typing import Any

from .._engines import Array
from .._errors import lesson
from ._lstm import lstm_and_decision

_WHERE = "conveyor.ops.lstm_step"


def lstm_step(
    x: Array,
    hidden_state: Array | None,
    cell_state: Array | None,
    kernel: Array,
    recurrent_kernel: Array,
    bias: Array | None = None,
    *,
    mask: Array | None = None,
    activation: Any = "tanh",
    recurrent_activation: Any = "sigmoid",
    engine: str = "portable",
) -> tuple[Array, Array]:
    """One step of an LSTM: the states after it from those before, the equations of `lstm`.

    A pure function of arrays of the framework that Keras runs on, for loops of your own; it can
    be jitted, differentiated and vmapped. For live data on NumPy arrays `LSTMStream` and
    `conveyor.Stream` are many times as fast, as their weights are in order already.

    Args:
        x: (B, F) floats.
        hidden_state, cell_state: (B, U) before the step; zeros if None.
        kernel, recurrent_kernel, bias: see `lstm`.
        mask: (B,), False where a row is to keep its states.
        activation, recurrent_activation: see `lstm`.
        engine: "portable", "native" or "auto". A single step is mostly over before the native
            engine has its weights in order.

    Returns:
        (hidden_state, cell_state), each (B, U).

    Raises:
        ConveyorError: arrays whose axes or dtypes do not fit, each with the line to write.

    >>> import numpy as np
    >>> from conveyor import ops
    >>> rng = np.random.default_rng(0)
    >>> x, kernel, recurrent_kernel = (rng.normal(size=s) for s in [(2, 5, 3), (3, 16), (4, 16)])
    >>> h = c = None
    >>> for t in range(5):
    ...     h, c = lstm_step(x[:, t], h, c, kernel, recurrent_kernel)
    >>> whole = ops.lstm(x, kernel, recurrent_kernel, outputs="cell_state")
    >>> bool(np.allclose(c, whole))
    True
    """
    if len(getattr(x, "shape", ())) != 2:
        raise lesson(
            _WHERE,
            "x of shape (batch, features), a single time step",
            f"shape {tuple(getattr(x, 'shape', ()))}",
            "Write x[:, t]; conveyor.ops.lstm takes all steps at once.",
        )
    (hidden_state, cell_state), _ = lstm_and_decision(
        x[:, None],
        kernel,
        recurrent_kernel,
        bias,
        hidden_state=hidden_state,
        cell_state=cell_state,
        mask=None if mask is None else mask[:, None],
        activation=activation,
        recurrent_activation=recurrent_activation,
        unroll=True,
        outputs=("hidden_state", "cell_state"),
        engine=engine,
        where=_WHERE,
    )
    return hidden_state, cell_state
