"""The native engine on TensorFlow: ops of its own, without Python inside.

`native/bindings/tensorflow/` registers them through TensorFlow's C API, so they run in graphs
on TensorFlow's threads, and their gradients are those of any other op. They are there in
processes that have imported conveyor, and on CPUs. A function that XLA compiles, or that is
exported, is traced with the portable engine, and `why_not_native` says so. TensorFlow does not
trace anew

- a function that was called before when another one, compiled by XLA, calls it,
- a `get_concrete_function()` that is saved as a signature.

There it, or who reads the SavedModel without conveyor, fails with the name of the op,
`Conveyor>LstmForward` or `Conveyor>GruForward`; `engine="portable"` is for such functions.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

import tensorflow as tf

from ..._vocabulary import has_time_axis
from .. import _cells, _library
from .._cells import Cell
from .._request import Array

# Code that traces a function in order to write it down for another process.
_EXPORTERS = ("keras.src.export.", "tensorflow.python.saved_model.", "tensorflow.lite.", "tf2onnx.")


def why_not_native(arrays: Sequence[Array]) -> str | None:
    """Why the ops cannot run on these arrays here, or None where they can."""
    why_not = missing() or _elsewhere(arrays[0])
    if why_not is not None or tf.executing_eagerly():
        return why_not
    if tf.__internal__.get_enclosing_xla_context() is not None:
        return "XLA compiles this function, and it cannot call other code"
    if _exported():
        return "this function is exported, and runs where conveyor may not be there"
    return None


def native(request: Any) -> dict[str, Array]:
    """The states of the request; also a step of a graph, with dimensions that come later."""
    return native_together([request])[0]


def native_together(requests: Sequence[Any]) -> list[dict[str, Array]]:
    """The states of each of several that do not wait for each other, from one op."""
    return _run(requests, chained=False)


def native_stack(requests: Sequence[Any]) -> list[dict[str, Array]]:
    """The same where each reads the hidden states of the one before."""
    return _run(requests, chained=True)


def _run(requests: Sequence[Any], *, chained: bool) -> list[dict[str, Array]]:
    cell, parts = _cells.of(requests[0]), list[Part]()
    for r in requests:
        arrays, follows = cell.arrays(r), chained and bool(parts)
        if follows:
            del arrays["x"]
        if "cell_state" in arrays:
            arrays["cell_state"] = tf.cast(r.cell_state, state_dtype(r.x.dtype))
        names = tuple(name for name in cell.states if name in r.outputs)  # as the op returns them
        problem, options = _told(cell, r.x.dtype.name, cell.text_of_request(r), threads())
        given, values = tuple(arrays), list(arrays.values())
        parts.append(Part(given, values, problem, options, names, follows))
    return [
        dict(zip(part.names, states, strict=True))
        for part, (states, _) in zip(parts, forward(cell, parts, keep=recording()), strict=True)
    ]


@dataclass(frozen=True)
class Part:
    """What an op is told of one request: arrays, in the order of the core, and states.

    One that is `chained` reads an output of the one before, and has no input for it: forward its
    hidden_states as x, backward its d_x as the gradient of hidden_states.
    """

    given: tuple[str, ...]
    arrays: list[Array]
    problem: list[int]
    options: str
    names: tuple[str, ...]
    chained: bool

    @property
    def named(self) -> dict[str, Array]:
        """The arrays by their names."""
        return dict(zip(self.given, self.arrays, strict=True))


@cache
def _told(cell: Cell, dtype: str, text: str, threads: int) -> tuple[list[int], str]:
    """What the ops are told besides: of the sizes, they find out themselves."""
    problem = cell.core.Problem(dtype, 1, 1, 1, 1, cell.written.options(text), threads=threads)
    return list(cell.core.numbers(problem)), text


def attributes(cell: Cell, parts: Sequence[Part]) -> dict[str, Any]:
    """Those of both ops."""
    return {
        "problem": [number for part in parts for number in part.problem],
        "options": [part.options for part in parts],
        "given": [bits(part.given, cell.inputs) for part in parts],
        "states": [bits(part.names, cell.states) for part in parts],
        "chained": [int(part.chained) for part in parts],
    }


def forward(
    cell: Cell, parts: Sequence[Part], *, keep: bool
) -> list[tuple[list[Array], list[Array]]]:
    """The named states of each, and with `keep` what else the gradients need.

    That is the reserve, and hidden_states where they are not among the names.
    """
    result_types = []
    for part in parts:
        types = [part.arrays[0].dtype] * results_of(part, keep=keep)
        if keep:
            types[len(part.names)] = tf.uint8
        result_types += types
    results = iter(
        wrapper(cell, "forward")(
            [array for part in parts for array in part.arrays],
            result_types=result_types,
            keep=[int(keep)] * len(parts),
            **attributes(cell, parts),
        )
    )
    found = []
    x = parts[0].arrays[0]
    for part in parts:
        its = list(islice(results, results_of(part, keep=keep)))
        states, kept = its[: len(part.names)], its[len(part.names) :]
        if not tf.executing_eagerly():
            x = x if part.chained else part.arrays[0]
            _set_shapes(cell, part, x, states)
        found.append((states, kept))
    return found


def results_of(part: Part, *, keep: bool) -> int:
    """How many outputs of the forward op are those of a request."""
    return len(part.names) + (1 + ("hidden_states" not in part.names) if keep else 0)


def _set_shapes(cell: Cell, part: Part, x: Array, states: Sequence[Array]) -> None:
    batch, time_steps = x.shape[:2]
    recurrent_kernel = part.named["recurrent_kernel"]
    for name, state in zip(part.names, states, strict=True):
        size = cell.state_size(name, recurrent_kernel)
        state.set_shape([batch, time_steps, size] if has_time_axis(name) else [batch, size])


def bits(names: Any, order: Sequence[str]) -> int:
    """One bit for each name, at its place in the order."""
    return sum(1 << n for n, name in enumerate(order) if name in names)


def state_dtype(dtype: Any) -> Any:
    """Of the cell state before the first step, and of its gradient."""
    return tf.float32 if dtype == tf.bfloat16 else dtype


def wrapper(cell: Cell, direction: str) -> Any:
    """The Python function of an op: "forward" or "backward"."""
    return getattr(ops(), f"conveyor_{_NAMES[cell]}_{direction}")


_NAMES = {_cells.LSTM: "lstm", _cells.GRU: "gru"}


def ops() -> ModuleType:
    """The Python functions that TensorFlow wrote for the ops."""
    loaded = _load()
    if isinstance(loaded, str):
        raise RuntimeError(loaded)
    return loaded


def recording() -> bool:
    """Whether a tape may ask for gradients of what runs now."""
    # What every op that TensorFlow wraps asks before it tells the tapes. A gradient that comes
    # unannounced (of a function traced without a tape) computes the forward pass again.
    recording: bool = ops()._execute.must_record_gradient()
    return recording


def threads() -> int:
    """What a call is told."""
    return _library.threads_beside(int(tf.config.threading.get_intra_op_parallelism_threads()))


def missing() -> str | None:
    """Why there are no ops here at all."""
    loaded = _load()
    return loaded if isinstance(loaded, str) else None


def _elsewhere(x: Array) -> str | None:
    """Why the array is not where the ops are."""
    device: str = x.device  # "" for a step of a graph that TensorFlow has yet to place
    if "CPU:" in device.upper():
        return None
    if device or _on_gpu():
        return f"it runs on CPUs; the input is on {device or 'the GPU, if TensorFlow can'}"
    if isinstance(tf.distribute.get_strategy(), tf.distribute.ParameterServerStrategy):
        return "a parameter server hands this function to processes without conveyor"
    return None


def _on_gpu() -> bool:
    return bool(tf.config.get_visible_devices("GPU"))


def _exported() -> bool:
    # TensorFlow has no public sign for it, and Keras traces before it tells TensorFlow.
    frame = sys._getframe()
    while frame is not None:
        if frame.f_globals.get("__name__", "").startswith(_EXPORTERS):
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False


@cache
def _load() -> ModuleType | str:
    """The ops, or why there are none."""
    reason = _library.missing()
    if reason is not None:
        return reason
    folders = sys.modules[_library.__package__].__path__
    found = [path for folder in folders for path in Path(folder).glob("libconveyor_tensorflow.*")]
    if not found:
        return "its ops for TensorFlow were not built when conveyor was installed"
    try:
        loaded: ModuleType = tf.load_op_library(str(found[0]))
    except tf.errors.OpError as error:
        return f"{found[0].name} does not load: {error.message}"
    if not hasattr(loaded, "conveyor_gru_backward"):
        return f"TensorFlow {tf.__version__} has no C API for ops that this process could find"
    return loaded


# Now and not at the first call: a graph with the ops in it can be read once conveyor is there.
_load()
