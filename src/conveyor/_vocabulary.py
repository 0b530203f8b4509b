"""The names of the states, and the order of the gates: fixed here, used everywhere."""

from __future__ import annotations

from typing import Literal, get_args

# B batch, T time steps, F features, U units.
StateName = Literal[
    "hidden_states",  # (B, T, U) h after every step; a masked step repeats the one before
    "cell_states",  # (B, T, U) c after every step; a masked step repeats the one before
    "hidden_state",  # (B, U) h after the last step that is not masked
    "cell_state",  # (B, U) c after the last step that is not masked
    "input_gates",  # (B, T, U) i after its activation; zero at a masked step
    "forget_gates",  # (B, T, U) f, likewise
    "candidates",  # (B, T, U) g, likewise
    "output_gates",  # (B, T, U) o, likewise
]

STATE_NAMES: tuple[StateName, ...] = get_args(StateName)

# The order in which Keras packs the gates along the last axis of
# kernel (F, 4U), recurrent_kernel (U, 4U) and bias (4U,).
GATE_NAMES: tuple[StateName, ...] = (
    "input_gates",
    "forget_gates",
    "candidates",
    "output_gates",
)

FINAL_STATE_NAMES: tuple[StateName, ...] = ("hidden_state", "cell_state")

# A GRU has no cell state; its gates are of its own.
GRUStateName = Literal[
    "hidden_states",  # (B, T, U) h after every step; a masked step repeats the one before
    "hidden_state",  # (B, U) h after the last step that is not masked
    "update_gates",  # (B, T, U) z after its activation; zero at a masked step
    "reset_gates",  # (B, T, U) r, likewise
    "candidates",  # (B, T, U) g, likewise
]

GRU_STATE_NAMES: tuple[GRUStateName, ...] = get_args(GRUStateName)

# The order in which Keras packs them into kernel (F, 3U) and recurrent_kernel (U, 3U).
GRU_GATE_NAMES: tuple[GRUStateName, ...] = ("update_gates", "reset_gates", "candidates")

AnyStateName = StateName | GRUStateName


def has_time_axis(name: str) -> bool:
    """Whether this output is (B, T, U); the others are (B, U)."""
    return name not in FINAL_STATE_NAMES
