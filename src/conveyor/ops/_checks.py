"""What `ops.lstm` refuses, each with the line to write."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from .._engines import Array, glue
from .._errors import lesson
from ._variants import ZONEOUTS, wanted_shapes

Shape = tuple[int | None, ...]

_LIBRARIES = {"jax": "jax", "jaxlib": "jax", "torch": "torch", "tensorflow": "tensorflow"}


# What passed: a call costs a third where the one before was of the same kind.
_passed: set[tuple[Any, ...]] = set()


def check_inputs(
    arrays: dict[str, Array | None],
    mask: Array | None,
    resets: Array | None,
    coupled: bool,
    where: str,
) -> None:
    """All that types, shapes and dtypes tell of the inputs of `ops.lstm`."""
    kind = _kind((*arrays.values(), mask, resets), coupled)
    if kind in _passed:
        return
    check_arrays({**arrays, "mask": mask, "resets": resets}, where)
    check_framework({**arrays, "mask": mask, "resets": resets}, where)
    check_shapes(arrays, coupled, where)
    check_dtypes({name: array for name, array in arrays.items() if name not in ZONEOUTS}, where)
    if kind is not None:
        if len(_passed) >= 1024:
            _passed.clear()
        _passed.add(kind)


def _kind(arrays: tuple[Array | None, ...], coupled: bool) -> tuple[Any, ...] | None:
    """Types, shapes and dtypes, where they are plain values; None elsewhere."""
    own = glue.active().own
    if not all(a is None or own(a) for a in arrays):
        return None
    return coupled, *[None if a is None else (type(a), a.shape, a.dtype) for a in arrays]


def check_arrays(arrays: dict[str, Array | None], where: str) -> None:
    """Refuse lists and other things without shape and dtype."""
    for name, array in arrays.items():
        missing = array is None and name in ("x", "kernel", "recurrent_kernel")
        if missing or not (array is None or (hasattr(array, "shape") and hasattr(array, "dtype"))):
            raise lesson(
                where, f"{name} to be an array", type(array).__name__, f"Write np.asarray({name})."
            )


def check_framework(arrays: dict[str, Array | None], where: str) -> None:
    """Refuse arrays of a framework that Keras does not run on in this process."""
    backend = keras.backend.backend()
    for name, array in arrays.items():
        library = _LIBRARIES.get(type(array).__module__.split(".")[0])
        if library not in (None, backend):
            raise lesson(
                where,
                f"NumPy arrays or those of the Keras backend of this process, {backend}",
                f"{name} from {library}",
                f'Set os.environ["KERAS_BACKEND"] = "{library}" before Keras is imported.',
            )
        if isinstance(array, keras.KerasTensor):
            raise lesson(
                where,
                "arrays with values",
                f"{name} as the symbolic tensor of a functional model",
                "Write conveyor.LSTM(units)(x) in a model; conveyor.ops.lstm is for arrays.",
            )


def check_x(shape: Shape, where: str) -> None:
    """Refuse an input that is not (batch, time_steps, features)."""
    want = "(batch, time_steps, features)"
    got = f"shape {_show(shape)}"
    if len(shape) == 2:
        a, b = shape
        raise lesson(
            where,
            want,
            got,
            f"One sequence of {_number(a)} steps with {_number(b)} features? Write x[None]. "
            f"{_number(a).capitalize()} sequences of {_number(b)} steps with one feature? "
            "Write x[..., None]. What another LSTM returned? Give that one return_sequences=True.",
        )
    if len(shape) != 3:
        raise lesson(
            where,
            want,
            got,
            "Write x.reshape(batch, time_steps, features): the last axis holds everything "
            "that belongs to one step."
            + (
                " To run over each of several sequences: keras.layers.TimeDistributed(layer)."
                if len(shape) == 4
                else ""
            ),
        )
    if shape[1] == 0:
        raise lesson(where, f"{want} with at least one time step", got, "Leave empty batches out.")


def check_features(features: int | None, expected: int, where: str, gates: int = 4) -> None:
    """Refuse a number of features other than that of the kernel."""
    if features not in (None, expected):
        raise lesson(
            where,
            f"{expected} features, as its kernel ({expected}, {gates} * units) was built for",
            f"{features}",
            f"Pass x of shape (batch, time_steps, {expected}), or make a new layer for "
            f"{features} features.",
        )


def check_mask(mask: Array, batch: int | None, time_steps: int | None, where: str) -> None:
    """Refuse a mask that is not (batch, time_steps)."""
    shape = tuple(mask.shape)
    if len(shape) == 2 and _fits(shape, (batch, time_steps)):
        return
    raise lesson(
        where,
        f"a mask of shape (batch, time_steps) = {_show((batch, time_steps))}",
        f"shape {_show(shape)}",
        "Write mask=(tokens != 0), one boolean for each step, False where it is padding."
        if len(shape) != 3
        else "Write mask=mask[..., 0] or mask.any(-1): one boolean for each step.",
    )


def check_resets(resets: Array, batch: int | None, time_steps: int | None, where: str) -> None:
    """Refuse resets that are not (batch, time_steps)."""
    shape = tuple(resets.shape)
    numbers = not isinstance(resets, np.ndarray) or resets.dtype.kind in "biuf"
    if len(shape) != 2 or not numbers or not _fits(shape, (batch, time_steps)):
        raise lesson(
            where,
            f"resets of shape (batch, time_steps) = {_show((batch, time_steps))}",
            f"shape {_show(shape)}" if numbers else f"dtype {resets.dtype}",
            "Write resets=(position == 0), a boolean for each step, True where a sequence begins.",
        )


def check_state(
    state: Array, name: str, batch: int | None, units: int, where: str, axis: str = "units"
) -> None:
    """Refuse a state that is not (batch, units), or of a projection (batch, projection)."""
    shape, want = tuple(state.shape), (batch, units)
    if len(shape) == 2 and _fits(shape, want):
        return
    alike = f", each {_show(want)}" if axis == "units" else ""
    raise lesson(
        where,
        f"{name} of shape (batch, {axis}) = {_show(want)}",
        f"shape {_show(shape)}",
        f"The states come as a pair, hidden then cell{alike}: "
        "write initial_state=[hidden_state, cell_state]."
        if where.startswith("LSTM")
        else f"Pass {name} as an array {_show(want)}.",
    )


def check_shapes(arrays: dict[str, Any], coupled: bool, where: str) -> None:
    """Refuse arrays whose axes do not fit each other."""
    check_x(tuple(arrays["x"].shape), where)
    batch, time_steps, features = arrays["x"].shape
    gates = 3 if coupled else 4
    units, hidden_size = _sizes(arrays, gates, where)
    wanted: dict[str, list[Shape]] = {
        "kernel": [(features, gates * units)],
        "bias": [(gates * units,)],
        **wanted_shapes(arrays, gates, units, batch, time_steps),
    }
    for name, width in (("dropout_mask", features), ("recurrent_dropout_mask", hidden_size)):
        wanted[name] = [(batch, width), (4, batch, width)]
    for name, shapes in wanted.items():
        array = arrays.get(name)
        if array is None:
            continue
        shape = tuple(array.shape)
        if not any(len(shape) == len(want) and _fits(shape, want) for want in shapes):
            raise lesson(
                where,
                f"{name} of shape {' or '.join(map(_show, shapes))} "
                f"for {features} features and {units} units",
                f"shape {_show(shape)}",
                f"The axes are kernel (features, {gates} * units), recurrent_kernel "
                f"(units, {gates} * units), bias ({gates} * units,).",
            )
    projected = arrays.get("projection_kernel") is not None
    hidden = ("hidden_state", hidden_size, "projection" if projected else "units")
    for name, size, axis in (hidden, ("cell_state", units, "units")):
        if arrays[name] is not None:
            check_state(arrays[name], name, batch, size, where, axis)


def _sizes(arrays: dict[str, Any], gates: int, where: str) -> tuple[int, int]:
    """Units, and the size of the hidden state, which a projection makes another."""
    recurrent = tuple(arrays["recurrent_kernel"].shape)
    projection = arrays.get("projection_kernel")
    units = recurrent[1] // gates if len(recurrent) == 2 else 0
    if len(recurrent) == 2 and recurrent[1] == gates * units and units:
        if projection is not None:
            return units, recurrent[0]
        if recurrent[0] == units:
            return units, units
    rows = "units" if projection is None else "projection"
    raise lesson(
        where,
        f"recurrent_kernel of shape ({rows}, {gates} * units)",
        f"shape {_show(recurrent)}",
        f"Weights of torch.nn.LSTM are ({gates} * units, {rows}): transpose them.",
    )


def check_dtypes(arrays: dict[str, Any], where: str) -> None:
    """Refuse integers, and float arrays of different widths."""
    dtype = glue.dtype_name(arrays["x"])
    check_floating(dtype, where)
    for name, array in arrays.items():
        if array is None or glue.dtype_name(array) == dtype:
            continue
        if name == "cell_state" and glue.dtype_name(array) == "float32" and "16" in dtype:
            continue
        raise lesson(
            where,
            f"all arrays in the dtype of x, {dtype}",
            f"{name} in {glue.dtype_name(array)}",
            f'Write keras.ops.cast({name}, "{dtype}").',
        )


def check_floating(dtype: str, where: str) -> None:
    """Refuse token ids and other integers as input."""
    if "float" not in dtype:
        raise lesson(
            where,
            "floating-point input",
            f"dtype {dtype}",
            "Token ids? Put keras.layers.Embedding(vocabulary_size, features) before it. "
            'Measurements? Write x.astype("float32").',
        )


def _fits(shape: Shape, want: Shape) -> bool:
    return all(None in (a, b) or a == b for a, b in zip(shape, want, strict=True))


def _show(shape: Shape) -> str:
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"


def _number(n: int | None) -> str:
    return "any number of" if n is None else str(n)
