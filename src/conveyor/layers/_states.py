"""The states of a stateful layer, as its user sees them."""

from __future__ import annotations

from typing import Any

from . import _memory
from ._memory import StateMemory


class StatesBetweenCalls:
    """Get, set and reset."""

    cell: Any
    stateful: bool
    variable_dtype: str
    # What goes from step to step.
    state_names: tuple[str, ...] = ("hidden_state", "cell_state")
    _memory: StateMemory | None = None

    @property
    def where(self) -> str:
        """What this layer calls itself in an error."""
        raise NotImplementedError

    @property
    def state_sizes(self) -> tuple[int, ...]:
        """The numbers of each of `state_names`."""
        sizes = self.cell.state_size
        return (sizes,) if isinstance(sizes, int) else tuple(sizes)

    def build_memory(self, batch: int | None) -> None:
        """Make the variables; Keras allows none after `build`."""
        if self.stateful and self._memory is None:
            self._memory = StateMemory(
                self.state_sizes, batch, self.variable_dtype, self.state_names
            )

    @property
    def remembered_names(self) -> tuple[Any, ...]:
        """What a call must compute for the next one."""
        return self.state_names if self._memory is not None else ()

    @property
    def states(self) -> list[Any] | None:
        """The variables of a stateful layer, hidden then cell; None if there are none."""
        return None if self._memory is None else self._memory.variables

    @states.setter
    def states(self, value: None) -> None:
        """Keras's constructor sets it to None; there is nothing to do."""

    @property
    def variables(self) -> list[Any]:
        """The weights, the dropout seed, and the states of a stateful layer."""
        return [*super().variables, *(self.states or ())]  # type: ignore[misc]

    def get_states(self) -> list[Any]:
        """The states after the last call: [hidden, cell] as NumPy, (B, U) each; B = 0 if none.

        Raises:
            ConveyorError: the layer is not stateful, or was not built.
        """
        return self._remembering("get_states()").numpy()

    def set_states(self, states: Any) -> None:
        """Begin the next call with these states, [hidden, cell], (B, U) each, any B.

        Raises:
            ConveyorError: not two states, or not (B, U); a layer that is not stateful.
        """
        memory = self._remembering("set_states()")
        memory.write(_memory.states_to_set(states, self.state_sizes, self.where, self.state_names))

    def reset_state(self, states: Any = None) -> None:
        """Forget the states, or begin the next call with these. Then any batch size fits."""
        if states is not None:
            self.set_states(states)
        elif self._memory is not None:
            self._memory.forget()

    def reset_states(self, states: Any = None) -> None:
        """The older name of `reset_state`."""
        self.reset_state(states)

    def _remembering(self, what: str) -> StateMemory:
        if not self.stateful:
            raise _memory.not_stateful(what, self.where, self.state_names)
        if self._memory is None:
            raise _memory.not_built(what, self.where)
        return self._memory
