"""`trace(model, x)`: every state of every LSTM and GRU, as labelled arrays."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
from rich.progress import Progress

from .._version import __version__
from ..layers._find import FoundLSTM, Layer
from ..layers._variant import PLAIN, variant_of
from ._describe import class_name, function_name
from ._kinds import GRU_KIND, kind_of
from ._run import Call, run, watching
from ._samples import as_samples, batches, check_count, take
from ._selection import Select, Selection, check_selection
from ._time_axis import TimeAxis, check_time_axis, check_time_was_used
from ._trace_arrays import arrays_of, counted
from ._trace_store import InMemory, OnDisk, Part, Store


def trace(
    model: Layer,
    x: Any,
    *,
    tokens: Sequence[Sequence[str]] | Mapping[str, Sequence[Sequence[str]]] | None = None,
    time: Sequence[Any] | None = None,
    select: Select | None = None,
    preactivations: bool = False,
    to: str | os.PathLike[str] | None = None,
    batch_size: int | None = None,
    progress: bool | None = None,
) -> Any:
    """Run a model and keep every state of every LSTM and GRU in it, at every time step.

    The numbers are those of the forward pass itself: conveyor's layers hand them out, and those
    of Keras run on conveyor's engine meanwhile, with their own weights. The model is as
    before afterwards, and dropout is off.

    Args:
        model: a model or layer, with its weights, that holds LSTMs or GRUs of conveyor or of
            Keras at any depth.
        x: what the model is called with: an array, or arrays in lists or dicts.
        tokens: what stands at each step: for each sample a list of strings, or a string for its
            characters, one for each step or for each step that counts. For layers with time
            axes of their own a dict, path of the layer to such a list.
        time: (T,) timestamps or other values for the steps, instead of 0, 1, 2, ...
        select: what to keep: `{"layers": [...], "states": [...], "units": [...]}`, each may be
            left out. States are the variables below.
        preactivations: keep z of each gate as well, before its activation:
            `input_preactivations`, `forget_preactivations`, `candidate_preactivations`,
            `output_preactivations`; of a GRU `update_preactivations`, `reset_preactivations`,
            `candidate_preactivations`.
        to: a path, `"trace.zarr"`: write there batch after batch, for traces larger than memory.
        batch_size: the number of samples to run at a time; by default as many as have states of
            128 MiB, and all where a layer is stateful.
        progress: show a bar; by default where `to` is given.

    Returns:
        An `xarray.DataTree` with a node for each layer, at its path in the model: `encoder`,
        `bidirectional/forward_lstm`; `lstm (call 2)` where a layer runs again. Each node has

        - `hidden_states`, `cell_states`, `input_gates`, `forget_gates`, `candidates`,
          `output_gates` (sample, time, unit), NaN at masked steps;
        - `hidden_state`, `cell_state` (sample, unit) after the last step that counts, and
          `initial_hidden_state`, `initial_cell_state` before the first;
        - of a GRU `hidden_states`, `update_gates`, `reset_gates`, `candidates`, `hidden_state` and
          `initial_hidden_state`, likewise;
        - the coordinates `sample`, `time` and `unit`, and `token` (sample, time);
        - attributes: layer, cell ("LSTM" or "GRU"), direction, units, features, activations,
          engine; of a GRU `reset_after`; and `variant`, the arguments of an LSTM beyond the plain
          one. With a projection the hidden states have the
          axis `projection` instead of `unit`.

        `time` is the place in the sequence, also of a layer that goes backwards: that read the
        last step first, and its `hidden_state` is the one after step 0. 16-bit floats become
        float32. With `to` the arrays are read from disk when they are looked at.

    Raises:
        ConveyorError: a model without weights or without LSTM and GRU; tokens that do not fit the
            steps; a selection of what is not there; a path that is taken; no xarray.

    >>> import keras, numpy as np
    >>> model = keras.Sequential([keras.Input((5, 3)), keras.layers.LSTM(4, name="reader")])
    >>> tree = trace(model, np.ones((2, 5, 3), "float32"), tokens=["hello", "world"])
    >>> tree["reader"]["cell_states"].shape
    (2, 5, 4)
    >>> str(tree["reader"]["token"].sel(sample=1, time=0).item())
    'w'
    """
    x, samples = as_samples(x, "trace")
    if batch_size is not None:
        check_count(batch_size, "batch_size", "trace")
    store: Store = InMemory(samples) if to is None else OnDisk(Path(to))
    with watching(model, "trace") as watched:
        batch_size = batch_size or _batch_size(x, samples, watched.found)
        selection = check_selection(select, preactivations, watched.found)
        axis = check_time_axis(tokens, time, samples, [item.path for item in watched.found])
        steps: set[int] = set()
        with _bar(to is not None if progress is None else progress, samples) as advance:
            for part in batches(samples, batch_size):
                run(model, take(x, part))
                for call in watched.calls():
                    steps.add(int(call.record.inputs.shape[1]))
                    kind = kind_of(call.record.layer.cell)
                    if selection.has(call.path) and selection.names(kind):
                        store.put(call.path, _part(call, part, selection, axis))
                advance(part.stop - part.start)
    check_time_was_used(axis, sorted(steps))
    return store.tree({"model": str(model.name), "conveyor": __version__})


def _part(call: Call, samples: slice, selection: Selection, axis: TimeAxis) -> Part:
    record = call.record
    layer, cell = record.layer, record.layer.cell
    steps, features = map(int, record.inputs.shape[1:])
    units = selection.numbers(int(cell.units))
    kind, variant = kind_of(cell), variant_of(cell)
    arrays = arrays_of(record, selection.names(kind))
    projected = variant.projection
    if selection.units is not None:  # a projection has numbers of its own, and not one a unit
        arrays = {
            name: array if projected and "hidden" in name else array[..., units]
            for name, array in arrays.items()
        }
    coordinates = {"time": axis.times(steps), "unit": np.asarray(units)}
    if projected:
        coordinates["projection"] = np.arange(projected)
    beyond: dict[str, Any] = {}
    if variant is not PLAIN:
        beyond["variant"] = ", ".join(variant.beyond_plain())
    if kind is GRU_KIND:
        beyond["reset_after"] = bool(cell.reset_after)
    mask = counted(record)
    return Part(
        samples,
        arrays,
        axis.labels(call.path, samples, steps, mask),
        mask,
        coordinates,
        {
            "layer": class_name(layer),
            "cell": kind.name,
            "direction": "backward" if layer.go_backwards else "forward",
            "units": int(cell.units),
            "features": features,
            "activation": function_name(cell.activation),
            "recurrent_activation": function_name(cell.recurrent_activation),
            "engine": record.decision.engine,
            **beyond,
        },
        "projection" if projected else "unit",
    )


def _batch_size(x: Any, samples: int, found: tuple[FoundLSTM, ...]) -> int:
    """Large enough to be fast, small enough for the memory."""
    if any(item.layer.stateful for item in found):
        return samples
    steps = max(leaf.shape[1] if len(leaf.shape) > 1 else 1 for leaf in keras.tree.flatten(x))
    numbers = 8 * int(steps) * sum(int(item.layer.cell.units) for item in found)
    return max(1, (1 << 25) // max(1, numbers))  # float32


@contextmanager
def _bar(shown: bool, samples: int) -> Iterator[Any]:
    if not shown:
        yield lambda count: None
        return
    with Progress(transient=True) as bar:
        task = bar.add_task("Tracing", total=samples)
        yield lambda count: bar.advance(task, count)
