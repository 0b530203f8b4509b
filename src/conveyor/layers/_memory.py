"""What a stateful layer keeps between calls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from .._engines import Array, glue
from .._errors import ConveyorError, lesson
from ._checks import check_initial_state


class StateMemory:
    """Hidden and cell state of the last call, (B, H) and (B, U); B = 0 before the first.

    A GRU has the hidden state alone.

    A plain object, so that Keras does not count the two as weights: a file saved from a
    stateful layer holds the same weights as any other, and loads everywhere.
    """

    def __init__(
        self, sizes: Sequence[int], batch: int | None, dtype: str, names: tuple[str, ...]
    ) -> None:
        self.sizes = tuple(sizes)
        self._names = names
        self.variables = [
            glue.active().StateVariable(
                np.zeros((batch or 0, size), dtype), dtype=dtype, trainable=False, name=name
            )
            for name, size in zip(names, self.sizes, strict=True)
        ]

    def read(self, batch: Array | int, where: str) -> list[Array]:
        """The states for a batch of this size: zeros if there are none yet."""
        return [self._fit(ops.copy(v), batch, where) for v in self.variables]

    def _fit(self, state: Array, batch: Array | int, where: str) -> Array:
        error = lesson(
            where,
            f"the batch of {state.shape[0]} sequences whose states it remembers (stateful=True)",
            f"a batch of {batch}" if isinstance(batch, int) else "another",
            "Write layer.reset_state() before other sequences, or "
            f"layer.set_states([{', '.join(self._names)}]) with the states they start from.",
        )
        if isinstance(batch, int) and state.shape[0] not in (None, 0, batch):
            raise error
        remembered = ops.shape(state)[0]
        if state.shape[0] is None:
            fits = ops.logical_or(ops.equal(remembered, 0), ops.equal(remembered, batch))
            remembered = glue.active().require(fits, str(error), remembered)
        # Nothing is added where the states are there; all of them where they are not.
        count = batch - remembered
        count = count if isinstance(count, int) else ops.maximum(count, 0)
        return ops.concatenate([state, ops.zeros((count, state.shape[1]), state.dtype)])

    def write(self, states: list[Array]) -> None:
        for variable, state in zip(self.variables, states, strict=True):
            variable.assign(ops.cast(state, variable.dtype))

    def forget(self) -> None:
        self.write([np.zeros((0, size), "float32") for size in self.sizes])

    def numpy(self) -> list[np.ndarray]:
        return [ops.convert_to_numpy(v) for v in self.variables]


def not_stateful(what: str, where: str, names: tuple[str, ...]) -> ConveyorError:
    """For state methods on a layer that keeps none."""
    return lesson(
        where,
        f"stateful=True for {what}",
        "stateful=False",
        f"Write {where.split(maxsplit=1)[0]}(units, stateful=True), or pass "
        f"initial_state=[{', '.join(names)}] at the call.",
    )


def not_built(what: str, where: str) -> ConveyorError:
    """For state methods before the layer knows its weights."""
    return lesson(
        where,
        f"to be built before {what}",
        "a layer that no input has gone through",
        "Write layer.build((None, None, features)), or call it on a batch first.",
    )


def states_to_set(
    states: Any, sizes: Sequence[int], where: str, names: tuple[str, ...]
) -> list[np.ndarray]:
    """The pair (hidden, cell), or what else has these names, as arrays of one batch.

    Raises:
        ConveyorError: not as many states, or not (B, size) with the sizes.
    """
    batch = None
    if isinstance(states, (list, tuple)):
        states = [ops.convert_to_numpy(s) for s in states]
        batch = len(states[0]) if states and states[0].ndim else None
    check_initial_state(states, batch, sizes, where, names)
    return list(states)
