"""One run of a model, with a record of every LSTM and GRU on the way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from threading import RLock
from typing import Any

import keras

from .._engines import glue
from .._errors import lesson
from ..layers import GRU, LSTM, Record, Records, recording, running_here
from ..layers._find import FoundLSTM, Layer, find_lstms_and_grus
from ._kinds import kind_of


@dataclass(frozen=True)
class Call:
    """One call of one LSTM or GRU.

    Attributes:
        path: of the layer in the model; `decoder/lstm (call 2)` where it runs again.
        record: what went in and what came of it.
    """

    path: str
    record: Record


# Keras's layers are changed for as long as they are watched.
_lock = RLock()


def layers_in(model: Layer, where: str) -> tuple[FoundLSTM, ...]:
    """The LSTMs and GRUs of a model that has its weights.

    Raises:
        ConveyorError: no model, none in it, or one without weights.
    """
    if not isinstance(model, keras.layers.Layer):
        raise lesson(
            where,
            "a Keras model or layer",
            type(model).__name__,
            f"Write {where}(model, x), with a model that holds an LSTM or a GRU.",
        )
    found = find_lstms_and_grus(model)
    unbuilt = [
        f'{kind_of(item.layer.cell).name} "{item.path}"' for item in found if not item.layer.built
    ]
    if unbuilt or not (found or model.built):
        raise lesson(
            where,
            "a model with its weights",
            f"{unbuilt[0] if unbuilt else model.name}, which is not built",
            "Begin the model with Input(shape=(time_steps, features)), or call it once on real "
            "data; load the weights if it was trained.",
        )
    if not found:
        raise lesson(
            where,
            "a model with an LSTM or a GRU inside",
            f'the {type(model).__name__} "{model.name}", which holds none',
            "Put one of conveyor or of keras.layers into it, or pass the model around it.",
        )
    return found


@dataclass(frozen=True)
class Watched:
    """A model that is being watched.

    Attributes:
        found: its LSTMs and GRUs.
        records: of their calls so far.
    """

    found: tuple[FoundLSTM, ...]
    records: Records

    @property
    def paths(self) -> dict[int, str]:
        """Of the layers, by their id."""
        return {id(item.layer): item.path for item in self.found}

    def calls(self) -> list[Call]:
        """The calls so far, which are forgotten."""
        paths = named(self.records, self.paths)
        calls = [Call(path, record) for path, record in zip(paths, self.records, strict=True)]
        self.records.clear()
        return calls


def named(records: Iterable[Record], paths: Mapping[int, str]) -> list[str]:
    """The path of each call: `lstm`, and `lstm (call 2)` where the layer runs again."""
    counts: dict[str, int] = {}
    names = []
    for record in records:
        path = paths.get(id(record.layer)) or str(record.layer.name)
        count = counts[path] = counts.get(path, 0) + 1
        names.append(path if count == 1 else f"{path} (call {count})")
    return names


@contextmanager
def watching(model: Layer, where: str) -> Iterator[Watched]:
    """Watch the LSTMs and GRUs of a model.

    Stateful layers have the states afterwards that they had before.
    """
    found = layers_in(model, where)
    layers = [item.layer for item in found]
    with _lock, running_here(layers), recording() as records:
        before = [(layer, remembered(layer)) for layer in layers if layer.stateful]
        try:
            yield Watched(found, records)
        finally:
            for layer, states in before:
                remember(layer, states)


def run(model: Layer, x: Any) -> Any:
    """The output for one batch, as in `predict`, with nothing kept for gradients."""
    with glue.active().without_gradients():
        return model(x)


def remembered(layer: Layer) -> list[Any]:
    """The states of a stateful layer, conveyor's or Keras's."""
    if isinstance(layer, LSTM | GRU):
        return layer.get_states()
    return [keras.ops.convert_to_numpy(state) for state in keras.tree.flatten(layer.states)]


def remember(layer: Layer, states: list[Any]) -> None:
    """Give them back."""
    if isinstance(layer, LSTM | GRU):
        layer.set_states(states)
        return
    for variable, state in zip(keras.tree.flatten(layer.states), states, strict=True):
        variable.assign(state)
