"""The two kinds of cells that are looked into, and what each has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras

from .._vocabulary import (
    GATE_NAMES,
    GRU_GATE_NAMES,
    GRU_STATE_NAMES,
    STATE_NAMES,
    AnyStateName,
    has_time_axis,
)


@dataclass(frozen=True)
class Kind:
    """What cells of one kind have.

    Attributes:
        name: "LSTM" or "GRU".
        states: all of them.
        packed: gates and candidate, in the order in which the weights are packed.
        initial: the states before the first step.
        preactivations: z of each of `packed`, before its activation.
        memory: the state that is a sum of what every step put in.
        last_memory: the same after the last step.
        keeps: the gate that says how much of it stays.
    """

    name: str
    states: tuple[AnyStateName, ...]
    packed: tuple[AnyStateName, ...]
    initial: tuple[str, ...]
    preactivations: tuple[str, ...]
    memory: AnyStateName
    last_memory: AnyStateName
    keeps: AnyStateName

    @property
    def gates(self) -> tuple[AnyStateName, ...]:
        """What is between 0, shut, and 1, open."""
        return tuple(name for name in self.packed if name != "candidates")

    @property
    def states_of_a_step(self) -> tuple[AnyStateName, ...]:
        """What goes from step to step, in the order in which cells have it."""
        return tuple(name for name in self.states if not has_time_axis(name))

    @property
    def names(self) -> tuple[str, ...]:
        """All that a trace has, without pre-activations."""
        return (*self.states, *self.initial)


def _preactivations(packed: tuple[AnyStateName, ...]) -> tuple[str, ...]:
    return tuple(f"{name.split('_')[0].removesuffix('s')}_preactivations" for name in packed)


LSTM_KIND = Kind(
    "LSTM",
    STATE_NAMES,
    GATE_NAMES,
    ("initial_hidden_state", "initial_cell_state"),
    _preactivations(GATE_NAMES),
    "cell_states",
    "cell_state",
    "forget_gates",
)
GRU_KIND = Kind(
    "GRU",
    GRU_STATE_NAMES,
    GRU_GATE_NAMES,
    ("initial_hidden_state",),
    _preactivations(GRU_GATE_NAMES),
    "hidden_states",
    "hidden_state",
    "update_gates",
)
KINDS = (LSTM_KIND, GRU_KIND)

# Of both, each once.
ALL_STATES: tuple[AnyStateName, ...] = tuple(dict.fromkeys((*STATE_NAMES, *GRU_STATE_NAMES)))
ALL_OVER_TIME = tuple(name for name in ALL_STATES if has_time_axis(name))
ALL_GATES = tuple(dict.fromkeys((*LSTM_KIND.gates, *GRU_KIND.gates)))
ALL_PREACTIVATIONS = tuple(dict.fromkeys((*LSTM_KIND.preactivations, *GRU_KIND.preactivations)))


def kind_of(cell: Any) -> Kind:
    """That of a cell of conveyor or of Keras."""
    return GRU_KIND if isinstance(cell, keras.layers.GRUCell) else LSTM_KIND


def kind_in(dataset: Any) -> Kind:
    """That of one layer of a trace, which says so, or has gates that the other kind has not."""
    named = dataset.attrs.get("cell")
    only = {"update_gates", "reset_gates"}
    is_gru = named == "GRU" if named else bool(only & set(dataset.data_vars))
    return GRU_KIND if is_gru else LSTM_KIND
