"""`find_nonfinite(model, x, y)`: where NaN or infinity begins."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..layers import Record
from ..layers._find import Layer
from ..layers._variant import variant_of, weight_shapes
from ._arriving import arriving, loss_of
from ._backward import backward
from ._kinds import kind_of
from ._printed import Printed
from ._run import Call, Watched, named, run, watching
from ._samples import as_samples, as_targets, batches, check_count, take
from ._trace_arrays import arrays_of, counted

Array = npt.NDArray[Any]

_NO_UNITS = ("projection_kernel",)  # whose last axis is that of the projection
_SHOWN = 4  # steps before, to look at


@dataclass(frozen=True)
class NonFinite(Printed):
    """The first number that is NaN or infinite.

    Attributes:
        layer: the path of the layer, or the name of the model where it is its output.
        kind: "weight", "input", "value", "output" or "gradient".
        name: of the array: a weight, a state, the pre-activations of a gate.
        sample: its number; None for a weight.
        step: the time step, in the user's order; None where there is none.
        unit: of the layer, or the feature of an input.
        value: NaN or infinity.
        before: the values of the same sample and unit at the steps that were computed before:
            step to value.
    """

    layer: str
    kind: str
    name: str
    sample: int | None
    step: int | None
    unit: int | None
    value: float
    before: dict[int, float]

    def __rich__(self) -> RenderableType:
        places = [("sample", self.sample), ("step", self.step), ("unit", self.unit)]
        if self.kind == "input":
            places[2] = ("feature", self.unit)
        where = ", ".join(f"{name} {place}" for name, place in places if place is not None)
        of = "the gradient of " if self.kind == "gradient" else ""
        line = f"{self.layer}: {of}{self.name} is {self.value} at {where}"
        if not self.before:
            return Text(line)
        table = Table("step", self.name, box=None, pad_edge=False)
        for step, value in self.before.items():
            table.add_row(str(step), f"{value:.6g}")
        return Group(Text(line), Text("Computed before it:"), table)


def find_nonfinite(
    model: Layer, x: Any, y: Any = None, *, loss: Any = None, batch_size: int = 32
) -> NonFinite | None:
    """Find the first NaN or infinity in the LSTMs and GRUs of a model.

    The weights come first, then the forward pass, layer by layer and step by step: the input,
    then pre-activations, gates, cell state and hidden state; the output of the model; and with
    `y` the gradients, from the last layer and the last step back.

    Args:
        model: a model with its weights, of LSTMs or GRUs of conveyor or of Keras.
        x: what the model is called with.
        y: what it should have made of it; None to look at the values only.
        loss: as for `gradient_flow`.
        batch_size: the number of samples to run at a time.

    Returns:
        Where it is, with the values before it; None where all is finite.

    Raises:
        ConveyorError: as `trace` and `gradient_flow` do.

    >>> import keras, numpy as np
    >>> model = keras.Sequential([keras.Input((5, 3)), keras.layers.LSTM(4, name="reader")])
    >>> x = np.ones((2, 5, 3), "float32")
    >>> find_nonfinite(model, x) is None
    True
    >>> x[1, 3, 2] = np.nan
    >>> print(find_nonfinite(model, x))
    reader: input is nan at sample 1, step 3, feature 2
    Computed before it:
    step  input
    2     1
    1     1
    0     1
    """
    where = "find_nonfinite"
    x, samples = as_samples(x, where)
    wanted = None if y is None else loss_of(model, loss, where)
    y = as_targets(y, samples, where)
    check_count(batch_size, "batch_size", where)
    with watching(model, where) as watched:
        found = next(_in_weights(watched), None)
        for part in batches(samples, batch_size):
            if found is None:
                found = next(_in_values(model, take(x, part), watched, part.start), None)
        for part in batches(samples, batch_size):
            if found is None and wanted is not None:
                _, calls = arriving(model, take(x, part), take(y, part), wanted, watched.records)
                found = next(_in_gradients(calls, watched, part.start), None)
    return found


def _in_weights(watched: Watched) -> Iterator[NonFinite]:
    for item in watched.found:
        cell = item.layer.cell
        more = weight_shapes(variant_of(cell), int(cell.units))
        for name in ("kernel", "recurrent_kernel", "bias", *more):
            weight = getattr(cell, name)
            if weight is None:
                continue
            values = np.asarray(keras.ops.convert_to_numpy(keras.ops.cast(weight, "float32")))
            if not np.isfinite(values).all():
                at = tuple(np.argwhere(~np.isfinite(values))[0])
                unit = int(at[-1]) % int(weight.shape[-1] if name in _NO_UNITS else cell.units)
                yield NonFinite(item.path, "weight", name, None, None, unit, float(values[at]), {})


def _in_values(model: Layer, x: Any, watched: Watched, start: int) -> Iterator[NonFinite]:
    output = run(model, x)
    for call in watched.calls():
        yield from _in_call(call, start)
    for leaf in keras.tree.flatten(output):
        values = np.asarray(keras.ops.convert_to_numpy(keras.ops.cast(leaf, "float32")))
        if not np.isfinite(values).all():
            at = tuple(map(int, np.argwhere(~np.isfinite(values))[0]))
            yield NonFinite(
                str(model.name),
                "output",
                "the output",
                start + at[0],
                None,
                at[-1],
                float(values[at]),
                {},
            )


def _in_call(call: Call, start: int) -> Iterator[NonFinite]:
    record = call.record
    turn = slice(None, None, -1 if record.layer.go_backwards else 1)
    arrays = {n: a[:, turn] for n, a in arrays_of(record, _values(record)).items()}
    inputs = np.asarray(keras.ops.convert_to_numpy(keras.ops.cast(record.inputs, "float32")))
    mask = counted(record)
    counts = np.ones(inputs.shape[:2], bool) if mask is None else mask
    yield from _first(call.path, {"input": inputs[:, turn], **arrays}, counts[:, turn], turn, start)


def _values(record: Record) -> list[str]:
    """What a step computes, in this order."""
    kind = kind_of(record.layer.cell)
    return [*kind.preactivations, *kind.packed, *dict.fromkeys((kind.memory, "hidden_states"))]


def _in_gradients(calls: Any, watched: Watched, start: int) -> Iterator[NonFinite]:
    paths = named([record for record, _ in calls], watched.paths)
    for path, (record, arrived) in reversed([*zip(paths, calls, strict=True)]):
        with np.errstate(all="ignore"):
            g = backward(record, arrived)
            names = kind_of(record.layer.cell).preactivations
            z = np.split(g.preactivations, len(names), axis=-1)
            named_gradients = {
                "hidden_states": g.hidden_states,
                **({} if g.cell_states is None else {"cell_states": g.cell_states}),
                **dict(zip(names, z, strict=True)),
                "input": g.inputs,
            }
            # As they are in training, where what float64 still holds may be infinite.
            arrays = {n: a.astype("float32")[:, ::-1] for n, a in named_gradients.items()}
        turn = slice(None, None, 1 if record.layer.go_backwards else -1)
        for found in _first(path, arrays, g.counts[:, ::-1], turn, start):
            yield NonFinite(**{**vars(found), "kind": "gradient"})


def _first(
    path: str, arrays: dict[str, Array], counts: Array, turn: slice, start: int
) -> Iterator[NonFinite]:
    """The first in time of arrays (B, T, N), which have their steps in the order of computing."""
    bad = {name: ~np.isfinite(values) & counts[..., None] for name, values in arrays.items()}
    steps = np.flatnonzero(np.any([b.any(axis=(0, 2)) for b in bad.values()], axis=0))
    if not len(steps):
        return
    t = int(steps[0])
    name = next(name for name, b in bad.items() if b[:, t].any())
    sample, unit = map(int, np.argwhere(bad[name][:, t])[0])
    times = np.arange(counts.shape[1])[turn]
    values = arrays[name][sample, :, unit]
    earlier = [k for k in reversed(range(t)) if counts[sample, k]][:_SHOWN]
    kind = "input" if name == "input" else "value"
    yield NonFinite(
        path,
        kind,
        name,
        start + sample,
        int(times[t]),
        unit,
        float(values[t]),
        {int(times[k]): float(values[k]) for k in earlier},
    )
