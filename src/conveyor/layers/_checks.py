"""What the layer refuses before Keras sees it, with the names of the user's own layers."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import Any

import keras

from .._engines import Array, glue
from .._errors import ConveyorError, lesson
from ..ops import _checks

Shape = tuple[int | None, ...]


def check_units(units: object, where: str) -> int:
    """Refuse anything but a positive whole number."""
    try:
        whole = units.__index__() if not isinstance(units, bool) else 0  # type: ignore[attr-defined]
    except AttributeError:
        whole = 0
    if whole < 1:
        raise lesson(
            where,
            "units to be a positive integer, the size of the states",
            f"units={units!r}",
            f"Write {where}({_nearest_integer(units)}).",
        )
    return int(whole)


def _nearest_integer(units: object) -> int:
    try:
        return max(1, round(float(units)))  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return 10


def check_rate(rate: float, name: str, where: str) -> float:
    """Refuse a dropout rate outside [0, 1]; Keras clips it silently."""
    if not isinstance(rate, numbers.Real) or not 0.0 <= rate <= 1.0:
        raise lesson(
            where,
            f"{name} to be the fraction to drop, between 0 and 1",
            f"{name}={rate!r}",
            f"Write {name}={rate / 100:g}."
            if isinstance(rate, numbers.Real) and 1 < rate <= 100
            else f"Write {name}=0.2.",
        )
    return rate


def check_is_array(x: Any, where: str) -> None:
    """Refuse what has no shape: None, text, nested lists."""
    if not hasattr(x, "shape"):
        raise lesson(
            where,
            "an array (batch, time_steps, features)",
            type(x).__name__,
            'Write np.asarray(x, "float32"). Text becomes numbers first: keras.layers.'
            "TextVectorization, then keras.layers.Embedding.",
        )


def check_input(x: Array, features: int | None, where: str, gates: int = 4) -> None:
    """Refuse what is not (batch, time_steps, features), and what looks like token ids.

    Other integers, counts or one-hot vectors, are numbers to compute with, as in Keras.
    """
    shape = tuple(x.shape)
    source = getattr(x, "_keras_history", None)
    if source is not None and len(shape) != 3:
        _check_source(source.operation, shape, where)
    if len(shape) == 2 and "float" not in glue.dtype_name(x):
        # Ids of tokens are (batch, time_steps): they lack an embedding, not an axis.
        _checks.check_floating(glue.dtype_name(x), where)
    _checks.check_x(shape, where)
    # A cast would drop the imaginary part of complex numbers without a word.
    if shape[2] == 1 or "int" not in glue.dtype_name(x):
        _checks.check_floating(glue.dtype_name(x), where)
    if features is not None:
        _checks.check_features(shape[2], features, where, gates)


def _check_source(operation: Any, shape: Shape, where: str) -> None:
    """A wrong rank whose reason is in the layer below."""
    if len(shape) == 4 and isinstance(operation, keras.layers.InputLayer):
        raise lesson(
            where,
            "(batch, time_steps, features)",
            f"shape {shape} from Input(shape={shape[1:]})",
            f"Input(shape=...) leaves the batch out: write Input(shape={shape[2:]}).",
        )
    below = _recurrent_layer_below(operation) if len(shape) == 2 else None
    if below is not None:
        kind = type(below).__name__
        every = (
            "return_sequences=True"
            if getattr(below, "outputs", None) is None
            else 'outputs="hidden_states"'
        )
        raise lesson(
            where,
            "(batch, time_steps, features)",
            f"shape {shape} from {kind} {below.name!r} below, which returns its last state only",
            f"Write {kind}(..., {every}, name={below.name!r}) to get every step.",
        )


def _recurrent_layer_below(operation: Any) -> Any:
    """The nearest recurrent layer below, through layers of one input such as Dropout."""
    while True:
        if hasattr(operation, "return_sequences"):
            return None if operation.return_sequences else operation
        nodes = getattr(operation, "_inbound_nodes", ())
        inputs: Any = nodes[-1].input_tensors if nodes else ()
        if len(inputs) != 1 or len(inputs[0].shape) != 2:
            return None
        operation = inputs[0]._keras_history.operation


def check_initial_state(
    state: Any,
    batch: int | None,
    sizes: Sequence[int],
    where: str,
    names: tuple[str, ...] = ("hidden_state", "cell_state"),
) -> None:
    """Refuse anything but (hidden, cell), or what else is named, (batch, size) with the sizes."""
    hidden, units = sizes[0], sizes[-1]
    several = isinstance(state, (list, tuple))
    if not several or len(state) != len(names):
        shape = tuple(getattr(state, "shape", ()))
        got = f"{len(state)} tensors" if several else f"one tensor of shape {shape}"
        raise lesson(
            where,
            "initial_state to be two tensors, hidden state and cell state, "
            + (
                f"each (batch, units) = ({batch}, {units})"
                if hidden == units
                else f"({batch}, {hidden}) with the numbers of the projection, and ({batch}, "
                f"{units}) with the units"
            )
            if len(names) == 2
            else f"initial_state to be one tensor, (batch, units) = ({batch}, {units})",
            got,
            f"Write initial_state=[{', '.join(names)}].",
        )
    for name, size, array in zip(names, sizes, state, strict=True):
        axis = "units" if hidden == units or name == "cell_state" else "projection"
        if not hasattr(array, "shape"):
            raise lesson(
                where,
                f"{name} to be an array (batch, {axis}) = ({batch}, {size})",
                type(array).__name__,
                f"Write np.asarray({name}), or leave initial_state out to begin with zeros.",
            )
        _checks.check_state(array, name, batch, size, where, axis)


def check_not_both_flags(
    outputs: object,
    return_sequences: bool,
    return_state: bool,
    where: str,
    states: tuple[str, ...] = ("hidden_state", "cell_state"),
) -> None:
    """`outputs=` replaces the two flags of Keras."""
    flags = [
        f"{name}=True"
        for name, given in (("return_sequences", return_sequences), ("return_state", return_state))
        if given
    ]
    if outputs is not None and flags:
        first = ("hidden_states",) if return_sequences else ("hidden_state",)
        wanted: tuple[str, ...] = (*first, *states) if return_state else first
        wanted = tuple(dict.fromkeys(wanted))
        raise lesson(
            where,
            "either outputs or the flags of Keras",
            f"outputs={outputs!r} and {' and '.join(flags)}",
            f"outputs replaces them. What {' and '.join(flags)} would return is "
            f"outputs={wanted}; add the names you want.",
        )


def check_unroll(time_steps: int | None, where: str) -> None:
    """A loop of unknown length cannot be written out."""
    if time_steps is None:
        raise lesson(
            where,
            "a known number of time steps for unroll=True",
            "time_steps=None",
            "Write Input(shape=(time_steps, features)) with a number, or leave unroll out.",
        )


def check_use_cudnn(use_cudnn: object, where: str) -> None:
    """The values that Keras takes."""
    if use_cudnn not in ("auto", True, False):
        raise lesson(
            where,
            "use_cudnn to be 'auto', True or False",
            f"use_cudnn={use_cudnn!r}",
            'Leave it out, or write use_cudnn="auto".',
        )


def cudnn_asked_for(where: str) -> ConveyorError:
    """For `use_cudnn=True`, which Keras too refuses where it cannot use cuDNN."""
    return lesson(
        where,
        "an engine of its own; it has none on cuDNN",
        "use_cudnn=True",
        'Write use_cudnn="auto"; layer.explain_engine() tells what runs.',
    )
