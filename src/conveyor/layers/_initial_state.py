"""What a layer begins a sequence with: zeros, or states that are learned."""

from __future__ import annotations

from typing import Any

from keras import ops

from .._engines import Array
from .._errors import lesson


class WithInitialState:
    """The states of a layer before the first step.

    The weights of `initial_state="learned"` are the cell's, so that they come behind its others.
    """

    cell: Any
    units: int
    state_names: tuple[str, ...]
    initial_state: str | None = None

    @property
    def state_sizes(self) -> tuple[int, ...]:
        """The numbers of each of `state_names`."""
        raise NotImplementedError

    @property
    def initial_hidden_state(self) -> Any:
        """(H,), where it is learned: as many numbers as a hidden state has."""
        return self.cell.initial_hidden_state

    @property
    def initial_cell_state(self) -> Any:
        """(U,), where it is learned."""
        return self.cell.initial_cell_state

    def get_initial_state(self, batch_size: Any) -> list[Array]:
        """The states before the first step, (B, H) and (B, U): zeros, or what was learned."""
        if self.initial_state is None:
            zeros: list[Array] = super().get_initial_state(batch_size)  # type: ignore[misc]
            return zeros
        weights = [getattr(self.cell, f"initial_{name}") for name in self.state_names]
        return [
            ops.broadcast_to(ops.convert_to_tensor(w), (batch_size, size))
            for w, size in zip(weights, self.state_sizes, strict=True)
        ]


def check_initial_state(
    initial_state: object,
    stateful: bool,
    where: str,
    names: tuple[str, ...] = ("hidden_state", "cell_state"),
) -> None:
    """Refuse anything but None and "learned", and the latter where states are remembered."""
    if not (
        initial_state is None or (isinstance(initial_state, str) and initial_state == "learned")
    ):
        raise lesson(
            where,
            'initial_state to be None or "learned" when the layer is made',
            repr(initial_state)
            if isinstance(initial_state, str | int | float)
            else type(initial_state).__name__,
            "States of your own are given at the call: "
            f"layer(x, initial_state=[{', '.join(names)}]).",
        )
    if initial_state is not None and stateful:
        raise lesson(
            where,
            "either stateful=True or a learned initial state",
            f"both, initial_state={initial_state!r}",
            "A stateful layer goes on where it stopped. conveyor.Stream begins each session with "
            "what was learned.",
        )


def check_resets_begin_alike(learned: object, given: object, where: str) -> None:
    """Refuse an initial state of the first sequence alone, where the others begin with another."""
    if learned is not None and given is not None:
        raise lesson(
            where,
            'either resets or an initial state at the call; this layer has initial_state="learned"',
            "both",
            "Leave initial_state out, and every sequence begins with what was learned; or make the "
            "layer without it, and every sequence but the first begins with zeros.",
        )
