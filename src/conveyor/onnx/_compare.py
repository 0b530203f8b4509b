"""What ONNX Runtime computes from a file beside what the model does."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from .._errors import ConveyorError
from ..layers._random_inputs import random_inputs
from ._builder import NEXT

Array = np.ndarray
TOLERANCE = 1e-4
_CUT = 3  # steps of the first chunk, where states go in and out


def session_of(built: Any) -> Any:
    """A session of ONNX Runtime; None where it is not installed.

    Raises:
        ConveyorError: it is too old for the opset, or refuses the file.
    """
    try:
        import onnxruntime
    except ModuleNotFoundError:
        return None
    try:
        return onnxruntime.InferenceSession(
            built.SerializeToString(), providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # its own kinds, which it does not name in public
        opset = built.opset_import[0].version
        raise ConveyorError(
            f"ONNX Runtime {onnxruntime.__version__} does not take the model with opset {opset}; "
            f"nothing was written: {str(error).strip().partition(chr(10))[0][:300]}\n"
            "Write an older opset, export(model, path, opset=17), or install a newer onnxruntime."
        ) from error


def difference_from(built: Any, graph: Any, first_states: dict[str, Array]) -> float | None:
    """The largest difference from a functional model; None without ONNX Runtime.

    Raises:
        ConveyorError: they differ.
    """
    session = session_of(built)
    if session is None:
        return None
    largest = 0.0
    fewest = _fewest_steps(graph)
    for batch, steps in ((2, 6 + fewest), (1, fewest)):
        x = _sample(graph, batch, steps)
        theirs = _outputs(session, graph, x, first_states)
        ours = keras.tree.flatten(graph(x if len(x) > 1 else x[0], training=False))
        for a, b in zip(theirs, ours, strict=True):
            largest = max(largest, relative(a, keras.ops.convert_to_numpy(b)))
    return checked(largest)


def relative(actual: Array, expected: Array) -> float:
    """The largest difference, relative to the largest number."""
    scale = max(1.0, float(np.abs(expected).max(initial=0.0)))
    return float(np.abs(actual - expected).max(initial=0.0)) / scale


def checked(largest: float) -> float:
    """The same; or an error where it is too much, or no number."""
    if not largest <= TOLERANCE:
        raise ConveyorError(
            f"ONNX Runtime and the model differ by {largest:.1e}; nothing was written.\n"
            "Weights that are not finite, or a fault of conveyor's: please report it."
        )
    return largest


def _outputs(session: Any, graph: Any, x: list[Array], first: dict[str, Array]) -> list[Array]:
    """What the session gives for x; fed in two chunks where it has states."""
    given = session.get_inputs()
    states = {
        known.name: np.repeat(
            first.get(known.name, np.zeros((1, known.shape[1]), np.float32)), len(x[0]), axis=0
        )
        for known in given[len(x) :]
    }
    arrays = {
        known.name: array.astype("int64" if "int" in array.dtype.name else "float32")
        for known, array in zip(given, x, strict=False)
    }
    names = [known.name for known in session.get_outputs()]
    count = len(graph.outputs)
    free = {
        known.name for known, tensor in zip(given, graph.inputs, strict=False) if _in_time(tensor)
    }
    longest = max((arrays[name].shape[1] for name in free), default=0)
    cuts = [(0, _CUT), (_CUT, None)] if states and longest > _CUT else [(0, None)]
    found: list[list[Array]] = []
    for start, end in cuts:
        chunk = {n: a[:, start:end] if n in free else a for n, a in arrays.items()}
        outputs = session.run(None, {**chunk, **states})
        after = dict(zip(names[count:], outputs[count:], strict=True))
        states = {name: after[name + NEXT] for name in states}
        found.append(outputs[:count])
    return [
        np.concatenate(parts, axis=1) if _in_time(tensor) else parts[-1]
        for tensor, parts in zip(graph.outputs, zip(*found, strict=True), strict=True)
    ]


def _layers(graph: Any, kind: Any) -> list[Any]:
    every = graph._flatten_layers(include_self=False, recursive=True)
    return [layer for layer in every if isinstance(layer, kind)]


def _fewest_steps(graph: Any) -> int:
    """So many that every Conv1D has one to write, however they follow each other."""
    steps = 1
    for conv in _layers(graph, keras.layers.Conv1D):
        reach = conv.dilation_rate[0] * (conv.kernel_size[0] - 1) + 1
        steps = steps * conv.strides[0] + reach
    return steps


def _in_time(tensor: Any) -> bool:
    return len(tensor.shape) > 1 and tensor.shape[1] is None


def _sample(graph: Any, batch: int, steps: int) -> list[Array]:
    """Random inputs, with padding, for those that look for it."""
    arrays = random_inputs(graph, batch, steps)
    for array in arrays:
        if array.ndim > 1 and array.shape[1] > 2:
            array[0, -2:] = 0
            array[-1, 1] = 0
    return arrays
