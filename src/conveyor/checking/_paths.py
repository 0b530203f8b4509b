"""The paths of a model, each as a function to run and what it is to return."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np

from .. import _engines, ops
from .._errors import ConveyorError
from ..convert._onnx import onnx_package
from ..inspection._kinds import GRU_KIND, kind_of
from ..inspection._run import watching
from ..layers import GRU, LSTM, running_on
from ..layers._keras_layers import runs_here
from ..layers._patch import is_patched
from ..layers._variant import PLAIN, variant_of
from ..onnx._builder import Builder
from ..onnx._export import build_model
from ..streaming import Stream
from ._subject import WHERE, Arrays, Run, Subject, as_numpy_array, graph

_OPSET = 17


@dataclass
class Path:
    """One way to run the model.

    Attributes:
        run: it; what it returns has been computed then.
        wanted: what it is to return; None for what the model as it is returns.
        note: what ran, asked after a run.
        parts: so many steps are in one run; 0 where that says nothing.
        timed: whether its time is that of a path.
    """

    run: Run
    wanted: Arrays | None = None
    note: Callable[[], str] = str
    parts: int = 0
    timed: bool = True


def as_it_is(subject: Subject) -> Path:
    """The model, untouched."""
    run = subject.runner()
    return Path(lambda: run(subject.x), note=partial(_who_ran, subject))


def _who_ran(subject: Subject) -> str:
    ran = {
        f"conveyor.{'GRU' if isinstance(layer, GRU) else 'LSTM'}, {layer._decision.engine} engine"
        if isinstance(layer, LSTM | GRU)
        else "layers of Keras on conveyor's engines"
        if runs_here(layer) or is_patched()
        else "Keras's own loop"
        for layer in subject.layers
    }
    return "; ".join(sorted(ran))


def on_engine(name: str, subject: Subject) -> Path:
    """Every LSTM and GRU on one engine of conveyor's."""
    _engines.check_name(name, WHERE)
    run = subject.runner(lambda: running_on(subject.layers, name))
    there = {id(layer) for layer in subject.layers}
    others = [item.path for item in subject.recurrent if id(item.layer) not in there]
    note = f"without {', '.join(others)}, which are no LSTMs and no GRUs" if others else ""
    return Path(lambda: run(subject.x), note=lambda: note)


def float64(subject: Subject) -> Path:
    """Each LSTM and GRU by itself, from the inputs that reach it, in float64."""
    with watching(subject.model, WHERE) as watched, subject.from_zero():
        subject.model(keras.tree.map_structure(keras.ops.convert_to_tensor, subject.x))
        calls = watched.calls()
    exact: Arrays = []
    actual: Arrays = []
    for call in calls:
        record, cell = call.record, call.record.layer.cell
        kind = kind_of(cell)
        names = tuple(dict.fromkeys(("hidden_states", kind.memory)))
        arrays = {
            "x": record.inputs,
            "kernel": cell.kernel,
            "recurrent_kernel": cell.recurrent_kernel,
            "bias": cell.bias,
            "hidden_state": record.hidden_state,
        }
        if record.cell_state is not None:
            arrays["cell_state"] = record.cell_state
        given: dict[str, Any] = {
            name: None if array is None else as_numpy_array(array).astype("float64")
            for name, array in arrays.items()
        }
        compute: Any = ops.gru if kind is GRU_KIND else ops.lstm
        made = compute(
            **given,
            **_beyond_plain(cell),
            mask=None if record.mask is None else as_numpy_array(record.mask),
            activation=cell.activation,
            recurrent_activation=cell.recurrent_activation,
            go_backwards=record.layer.go_backwards,
            outputs=names,
            engine="portable",
        )
        exact += [made] if len(names) == 1 else made
        actual += [as_numpy_array(record.states[name]) for name in names]
    kinds = Counter(kind_of(call.record.layer.cell).name for call in calls)
    count = " and ".join(f"{n} {name}{'s' * (n > 1)}" for name, n in kinds.items())
    count = f"{count}, each" if len(calls) > 1 else f"the {next(iter(kinds))}"
    states = "hidden and cell states" if kinds["LSTM"] else "hidden states"
    note = f"{states} of {count} by itself"
    return Path(lambda: actual, exact, lambda: note, timed=False)


def _beyond_plain(cell: Any) -> dict[str, Any]:
    """The other arguments of `ops.lstm`, in float64, or of `ops.gru`."""
    if kind_of(cell) is GRU_KIND:
        return {"reset_after": cell.reset_after}
    if variant_of(cell) is PLAIN:
        return {}
    given = cell.variant_for_ops(as_numpy_array)
    return {n: v.astype("float64") if hasattr(v, "shape") else v for n, v in given.items()}


def streaming(subject: Subject) -> Path:
    """Step by step."""
    stream = Stream(subject.model)
    arrays = subject.arrays
    batch, steps = arrays[0].shape[:2]
    if {array.shape[1] for array in arrays} != {steps}:
        raise ConveyorError("its inputs differ in their time steps here")
    keys: list[Hashable] = list(range(batch))
    times = [len(tensor.shape) for tensor in keras.tree.flatten(graph(subject).outputs)]

    def run() -> Arrays:
        for key in stream.sessions:
            stream.reset(key)
        every = []
        for t in range(steps):
            x = [array[:, t] for array in arrays]
            y = stream.step(x if len(x) > 1 else x[0], session=keys)
            every.append(keras.tree.flatten(y))
        last = every[-1]
        return [
            np.stack([y[n] for y in every], axis=1) if last[n].ndim < axes else last[n]
            for n, axes in enumerate(times)
        ]

    return Path(run, note=lambda: f"{steps} steps of {batch} sessions", parts=steps)


def in_onnx_runtime(subject: Subject) -> Path:
    """Exported, in memory."""
    onnx_package()
    try:
        import onnxruntime
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            'onnxruntime is not installed: pip install "conveyor[onnx]".'
        ) from None
    built = build_model(Builder(_OPSET), graph(subject), str(subject.model.name))
    session: Any = onnxruntime.InferenceSession(
        built.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    fed = {
        known.name: array.astype("int64" if "int" in known.type else "float32")
        for known, array in zip(session.get_inputs(), subject.arrays, strict=True)
    }
    return Path(lambda: list(session.run(None, fed)), note=lambda: f"opset {_OPSET}")
