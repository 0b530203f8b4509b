"""The model that is checked, the inputs that it is checked on, and how it is run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from .._errors import lesson
from ..inspection._run import remember, remembered
from ..inspection._samples import as_samples
from ..layers import GRU, LSTM, Compiled
from ..layers._find import FoundLSTM, find_recurrent_parts, is_gru
from ..layers._graph import graph_of
from ..layers._known_cells import why_unknown
from ..layers._random_inputs import random_inputs

WHERE = "conveyor.check"
# Of the random inputs, where the model leaves them free.
BATCH, STEPS = 4, 32

Arrays = list[np.ndarray]
Run = Callable[[], Arrays]


@dataclass(frozen=True)
class Subject:
    """A model and its inputs.

    Attributes:
        model: the model, or a layer.
        recurrent: all its recurrent layers.
        ours: those of them that conveyor's engines can run, LSTMs and GRUs.
        x: what the model is called with.
        arrays: the leaves of `x`, in the order of the model's inputs.
    """

    model: Any
    recurrent: tuple[FoundLSTM, ...]
    ours: tuple[FoundLSTM, ...]
    x: Any
    arrays: Arrays

    @property
    def layers(self) -> list[Any]:
        """These alone."""
        return [item.layer for item in self.ours]

    def runner(
        self, context: Callable[[], AbstractContextManager[None]] = nullcontext, **options: Any
    ) -> Callable[[Any], Arrays]:
        """The model as a function, compiled by the framework within a context."""
        compiled = Compiled(lambda x: self.model(x, **options), weights_of=[self.model])

        def run(x: Any) -> Arrays:
            with context(), self.from_zero():
                return as_numpy(compiled(x))

        return run

    @contextmanager
    def from_zero(self) -> Iterator[None]:
        """Stateful layers begin with zeros, and have their states back afterwards."""
        stateful = [layer for layer in self.layers if layer.stateful]
        before = [(layer, remembered(layer)) for layer in stateful]
        try:
            for layer in stateful:
                layer.reset_state()
            yield
        finally:
            for layer, states in before:
                remember(layer, states)


def subject_of(model: Any, x: Any) -> Subject:
    """Look at what was given.

    Raises:
        ConveyorError: no model, no LSTM or GRU in it, one without weights, inputs that are not
            known or do not fit.
    """
    if not isinstance(model, keras.layers.Layer):
        raise lesson(
            WHERE,
            "a Keras model or layer",
            type(model).__name__,
            'Write conveyor.check(model); a file is read by keras.saving.load_model("a.keras").',
        )
    recurrent = find_recurrent_parts(model)
    ours = tuple(item for item in recurrent if why_unknown(item.layer) is None)
    if not ours:
        others = ", ".join(f"{item.path}: {why_unknown(item.layer)}" for item in recurrent)
        raise lesson(
            WHERE,
            "a model with an LSTM or a GRU inside",
            f'"{model.name}", which holds {others or "none"}',
            "Put one of conveyor or of keras.layers into it, or pass the model around it.",
        )
    unbuilt = [item for item in ours if not item.layer.built]
    if unbuilt:
        raise lesson(
            WHERE,
            "a model with its weights",
            f'{"GRU" if is_gru(unbuilt[0].layer) else "LSTM"} "{unbuilt[0].path}", which is not '
            "built",
            "Begin the model with Input(shape=(time_steps, features)), or call it once on real "
            "data; load the weights if it was trained.",
        )
    inputs = _known_inputs(model)
    if x is None:
        return Subject(model, recurrent, ours, *_drawn(model, inputs))
    x, _ = as_samples(x, WHERE)
    x = keras.tree.map_structure(as_numpy_array, x)
    by_name = isinstance(x, dict) and inputs is not None
    names = [tensor.name for tensor in inputs or ()]
    arrays = [x[n] for n in names] if by_name and set(names) <= set(x) else keras.tree.flatten(x)
    _check_shapes(arrays, inputs)
    return Subject(model, recurrent, ours, x, arrays)


def _known_inputs(model: Any) -> list[Any] | None:
    if isinstance(model, keras.layers.RNN):
        features = model.cell.cells[0] if hasattr(model.cell, "cells") else model.cell
        return [keras.KerasTensor((None, None, features.kernel.shape[0]), name="x")]
    known = getattr(model, "inputs", None)
    return list(known) if known else None


def _drawn(model: Any, inputs: list[Any] | None) -> tuple[Any, Arrays]:
    if inputs is None:
        raise lesson(
            WHERE,
            "x for a model whose inputs are not known",
            f'the {type(model).__name__} "{model.name}" alone',
            "Write conveyor.check(model, x[:8]), with what the model is called with.",
        )
    if isinstance(model, keras.layers.RNN):
        features = inputs[0].shape[2]
        arrays = [np.random.default_rng(0).normal(size=(BATCH, STEPS, features)).astype("float32")]
    else:
        arrays = random_inputs(model, BATCH, STEPS)
    structure = getattr(model, "_inputs_struct", None)
    if structure is None:
        return (arrays[0] if len(arrays) == 1 else arrays), arrays
    return keras.tree.pack_sequence_as(structure, arrays), arrays


def _check_shapes(arrays: Arrays, inputs: list[Any] | None) -> None:
    if inputs is None:
        return
    wanted = [tuple(tensor.shape) for tensor in inputs]
    given = [array.shape for array in arrays]
    fits = len(wanted) == len(given) and all(
        len(w) == len(g) and all(a in (None, b) for a, b in zip(w, g, strict=True))
        for w, g in zip(wanted, given, strict=True)
    )
    if not fits:
        raise lesson(
            WHERE,
            f"x of shape {' and '.join(map(str, wanted))}, None for any size",
            f"shape {' and '.join(map(str, given))}",
            "Write conveyor.check(model, x[:8]); without x it draws random inputs.",
        )


def as_numpy_array(array: Any) -> np.ndarray:
    """The values, of bfloat16 in float32."""
    if isinstance(array, np.ndarray):
        return array
    if keras.backend.standardize_dtype(array.dtype) == "bfloat16":
        array = keras.ops.cast(array, "float32")
    return np.asarray(keras.ops.convert_to_numpy(array))


def as_numpy(outputs: Any) -> Arrays:
    """The outputs of a model; they are there when this returns."""
    return [as_numpy_array(leaf) for leaf in keras.tree.flatten(outputs)]


@contextmanager
def nothing_left_behind(model: Any) -> Iterator[None]:
    """A layer that is alone becomes a graph for streams and files, which it forgets again."""
    nodes = getattr(model, "_inbound_nodes", [])
    before = len(nodes)
    decisions = [
        (item.layer, item.layer._decision)
        for item in find_recurrent_parts(model)
        if isinstance(item.layer, LSTM | GRU)
    ]
    try:
        yield
    finally:
        del nodes[before:]
        for layer, decision in decisions:
            layer._decision = decision


def graph(subject: Subject) -> Any:
    """The functional model that computes what the model does."""
    return graph_of(subject.model, WHERE)
