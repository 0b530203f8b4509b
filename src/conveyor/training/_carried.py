"""States handed on from one window to the next, inside the layers of a model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
from keras import ops

from .._engines import Array, glue
from ..layers import GRU, LSTM


class CarriedStates:
    """The states of every recurrent layer of a model after the last window.

    `first`, while a window runs, says which of its sequences begin, (B,): those have the states
    that the layer begins with, as ever. At all other times the layers work as ever altogether.
    """

    def __init__(self, layers: dict[str, Any], batch: int) -> None:
        self.first: Array | None = None
        self._of = {path: _Memory(layer, batch) for path, layer in layers.items()}
        self._layers = layers

    @contextmanager
    def window(self, first: Array) -> Iterator[None]:
        """Hand on the states during one call of the model."""
        self.first = first
        try:
            yield
        finally:
            self.first = None

    @contextmanager
    def within(self, model: Any) -> Iterator[None]:
        """Put the states into the layers, and among the variables that training passes on."""
        variables = [v for memory in self._of.values() for v in memory.variables]
        # What a model has beside weights and metrics are seeds: variables that are passed through
        # compiled functions, and not saved.
        seeds = model._seed_generators
        ours = [SimpleNamespace(state=variable) for variable in variables]
        attributes = [self._attributes(path, layer) for path, layer in self._layers.items()]
        layers = list(self._layers.values())
        both = list(zip(layers, attributes, strict=True))
        before = [{name: vars(layer).get(name) for name in names} for layer, names in both]
        try:
            seeds.extend(ours)
            for layer, values in both:
                _set(layer, values)
            yield
        finally:
            for layer, values in zip(layers, before, strict=True):
                _set(layer, values)
            seeds[:] = [seed for seed in seeds if not any(seed is one for one in ours)]

    def _attributes(self, path: str, layer: Any) -> dict[str, Any]:
        """What takes the place of the layer's own."""
        memory = self._of[path]
        if not isinstance(layer, (LSTM, GRU)):
            return {"inner_loop": self._loop(memory, layer.inner_loop)}
        return {
            "_states_before": self._before(memory, layer._states_before),
            "_memory": _WhileWindowsRun(self, memory, layer),
        }

    def _loop(self, memory: _Memory, run: Callable[..., Any]) -> Callable[..., Any]:
        """For the loop of a layer of Keras."""

        def inner_loop(
            sequences: Array, initial_state: Any, mask: Any, training: bool = False
        ) -> Any:
            if self.first is None:
                return run(sequences, initial_state, mask, training=training)
            states = memory.before(initial_state, self.first)
            returned = run(sequences, states, mask, training=training)
            memory.keep(returned[2])
            return returned

        return inner_loop

    def _before(self, memory: _Memory, states_before: Callable[..., Any]) -> Callable[..., Any]:
        """For a layer of conveyor."""

        def before(sequences: Array, initial_state: Any) -> Any:
            states = states_before(sequences, initial_state)
            return states if self.first is None else memory.before(states, self.first)

        return before


class _Memory:
    """The states of one layer: variables, of as many sequences as the largest batch has."""

    def __init__(self, layer: Any, batch: int) -> None:
        states = keras.tree.flatten(layer.get_initial_state(batch))
        self.variables = [
            glue.active().StateVariable(
                np.zeros(tuple(state.shape), layer.variable_dtype),
                dtype=layer.variable_dtype,
                trainable=False,
                name=f"{layer.name}_{n}",
            )
            for n, state in enumerate(states)
        ]

    def before(self, initial: Any, first: Array) -> Any:
        """What each sequence begins this window with."""
        states = [
            ops.where(
                ops.reshape(first, (-1,) + (1,) * (len(state.shape) - 1)),
                state,
                ops.cast(ops.stop_gradient(_first_rows(variable, state)), state.dtype),
            )
            for variable, state in zip(self.variables, keras.tree.flatten(initial), strict=True)
        ]
        return keras.tree.pack_sequence_as(initial, states)

    def keep(self, states: Any) -> None:
        for variable, state in zip(self.variables, keras.tree.flatten(states), strict=True):
            rows = ops.cast(ops.stop_gradient(state), variable.dtype)
            # A smaller batch leaves the shape as it is: compiled code depends on it.
            rest = ops.convert_to_tensor(variable)[ops.shape(rows)[0] :]
            variable.assign(ops.concatenate([rows, rest]))


class _WhileWindowsRun:
    """In the place of the memory of a stateful layer of conveyor."""

    def __init__(self, carried: CarriedStates, memory: _Memory, layer: Any) -> None:
        self._carried, self._memory, self._layer = carried, memory, layer
        self.variables: list[Any] = []  # they are the model's

    def read(self, batch: Array | int, where: str) -> list[Array]:
        states: list[Array] = self._layer.get_initial_state(batch)
        return states

    def write(self, states: list[Array]) -> None:
        if self._carried.first is not None:
            self._memory.keep(states)


def _first_rows(variable: Any, state: Array) -> Array:
    """As many as `state` has; where there are fewer, new sequences begin, and none is looked at."""
    rows, value = ops.shape(state)[0], ops.copy(ops.convert_to_tensor(variable))
    missing = rows - ops.shape(value)[0]
    missing = max(missing, 0) if isinstance(missing, int) else ops.maximum(missing, 0)
    zeros = ops.zeros((missing, *value.shape[1:]), value.dtype)
    return ops.concatenate([value, zeros])[:rows]


def _set(layer: Any, values: dict[str, Any]) -> None:
    """Attributes of an object, past Keras, which would look for weights in them; None removes."""
    for name, value in values.items():
        vars(layer).pop(name, None)
        if value is not None:
            object.__setattr__(layer, name, value)
