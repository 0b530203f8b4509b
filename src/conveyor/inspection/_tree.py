"""Reads a trace: its layers, the variables that are needed, the steps that count."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from .._errors import ConveyorError, lesson
from ._extras import extra
from ._kinds import ALL_OVER_TIME

if TYPE_CHECKING:
    from xarray import Dataset, DataTree

Floats: TypeAlias = npt.NDArray[np.float64]
Booleans: TypeAlias = npt.NDArray[np.bool_]


def layers_of(trace: DataTree | Dataset, where: str) -> dict[str, Dataset]:
    """The Dataset of every LSTM and GRU by its path; one Dataset alone stands at "".

    Raises:
        ConveyorError: not a trace, or no states in it.
    """
    xr = extra("xarray", where)
    if isinstance(trace, xr.Dataset):
        found = {"": trace}
    elif isinstance(trace, xr.DataTree):
        # to_dataset() brings the coordinates along that a node has from its parents.
        found = {name_of(node): node.to_dataset() for node in trace.subtree}
    else:
        raise lesson(
            where,
            "a trace, or one layer of it",
            type(trace).__name__,
            f"Write trace = conveyor.trace(model, x), and then {where}(trace).",
        )
    found = {path: dataset for path, dataset in found.items() if _holds_states(dataset)}
    if not found:
        raise lesson(
            where,
            f"states to look at: {', '.join(ALL_OVER_TIME)}",
            "a trace that holds none of them",
            f"Write {where}(conveyor.trace(model, x)).",
        )
    return found


def name_of(node: DataTree) -> str:
    """The path of a layer in its model; a node that was cut off has its own name left."""
    return node.path.strip("/") or node.name or ""


def _holds_states(dataset: Dataset) -> bool:
    return any(name in dataset.data_vars for name in (*ALL_OVER_TIME, "contribution"))


def one_layer(trace: DataTree | Dataset, where: str) -> tuple[str, Dataset]:
    """The path and the Dataset of the only layer in it.

    Raises:
        ConveyorError: there are more; the message names them.
    """
    layers = layers_of(trace, where)
    if len(layers) > 1:
        raise lesson(
            where,
            "one layer",
            f"a trace of {len(layers)}: {', '.join(layers)}",
            f'Write {where}(trace["{next(iter(layers))}"]).',
        )
    return next(iter(layers.items()))


def with_samples(dataset: Dataset) -> Dataset:
    """The same with the axis `sample`, also where the user took one sample out."""
    return dataset if "sample" in dataset.dims else dataset.expand_dims("sample")


def variables(dataset: Dataset, names: Iterable[str], where: str) -> list[Floats]:
    """These variables in float64: (S, T, U), or (S, U) for the states without a time axis.

    Raises:
        ConveyorError: one is missing, or lacks an axis.
    """
    names = tuple(names)
    missing = [name for name in names if name not in dataset.data_vars]
    if missing:
        raise lesson(
            where,
            f"the variables {', '.join(names)}",
            f"a trace without {', '.join(missing)}",
            'Write conveyor.trace(model, x), without "states" in select: it keeps all of them.',
        )
    return [_array(dataset, name, where) for name in names]


def _array(dataset: Dataset, name: str, where: str) -> Floats:
    variable = dataset[name]
    has_time = name == "contribution" or name in ALL_OVER_TIME
    axes = ("sample", "time", "unit") if has_time else ("sample", "unit")
    if "projection" in variable.dims:
        raise lesson(
            where,
            f"{name} with a number for each unit",
            "those of a projection",
            "The cell states and the gates have one; of the hidden states of a layer with "
            'projection= there is trace["layer"].hidden_states.',
        )
    if set(variable.dims) != set(axes):
        raise lesson(
            where,
            f"{name} with the axes ({', '.join(axes)})",
            f"({', '.join(map(str, variable.dims))})",
            "One unit or step alone? Write isel(unit=[3]) for isel(unit=3), and the axis stays.",
        )
    array: Floats = variable.transpose(*axes).to_numpy().astype(np.float64)
    return array


def reads_backward(dataset: Dataset, where: str) -> bool:
    """Whether the layer read the highest time first.

    Raises:
        ConveyorError: nothing says which way it went.
    """
    direction: Any = dataset.attrs.get("direction")
    if direction not in ("forward", "backward"):
        raise lesson(
            where,
            'the attribute direction, "forward" or "backward"',
            repr(direction),
            'Traces have it; a Dataset made by hand needs dataset.attrs["direction"] = "forward".',
        )
    return bool(direction == "backward")


def masked_steps(dataset: Dataset) -> Booleans:
    """(S, T): the steps that do not count. A trace has NaN there, in every state of every unit.

    A layer that has computed NaN has it in every state of every unit too, and from then on to the
    last step that it reads, the final states included: such steps count, and stay NaN.
    """
    steps = [dataset[name] for name in ALL_OVER_TIME if name in dataset.data_vars]
    empty: Booleans = np.logical_and.reduce(
        [step.isnull().all(_last(step)).transpose("sample", "time").to_numpy() for step in steps]
    )
    finals = [dataset[name] for name in ("cell_state", "hidden_state") if name in dataset.data_vars]
    if not finals:
        return empty
    broken = np.logical_and.reduce(
        [final.isnull().all(_last(final)).to_numpy() for final in finals]
    )
    order = slice(None, None, -1) if dataset.attrs.get("direction") == "backward" else slice(None)
    is_read_after = np.logical_or.accumulate(~empty[:, order][:, ::-1], axis=1)[:, ::-1][:, order]
    masked: Booleans = empty & (~broken[:, np.newaxis] | is_read_after)
    return masked


def _last(variable: Any) -> list[str]:
    return [axis for axis in variable.dims if axis in ("unit", "projection")]


def sample_of(dataset: Dataset, sample: Any, where: str) -> Dataset:
    """One sample, by its coordinate; a Dataset that has lost the axis already is that sample.

    Raises:
        ConveyorError: there is no such sample.
    """
    return dataset if "sample" not in dataset.dims else select(dataset, "sample", sample, where)


def select(dataset: Dataset, axis: str, value: Any, where: str) -> Dataset:
    """The part at these values of a coordinate.

    Raises:
        ConveyorError: a value is not among them.
    """
    try:
        return dataset.sel({axis: value})
    except (KeyError, TypeError, ValueError):
        raise _no_such(dataset, axis, value, where) from None


def _no_such(dataset: Dataset, axis: str, value: Any, where: str) -> ConveyorError:
    known = dataset[axis].to_numpy()
    there = f"{known[0]} to {known[-1]}" if len(known) else "none"
    return lesson(
        f"{where}({axis}=...)",
        f"a {axis} of the trace: {len(known)} of them, {there}",
        f"{value!r}",
        f"Write {axis}={known[0] if len(known) else 0}; trace.{axis} lists them.",
    )
