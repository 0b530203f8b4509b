"""`conveyor.onnx.export`: a model of Keras as an ONNX file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import keras
import numpy as np
from rich.console import Console

from .._errors import ConveyorError, lesson
from ..convert._onnx import onnx_package
from ..layers._graph import graph_of, has_mask_of_its_own, needed_nodes, tensors_read
from ..layers._random_inputs import random_inputs
from ._builder import Builder, Tensor
from ._emit_layers import emit_local
from ._emit_lstm import emit_recurrent

_WHERE = "conveyor.onnx.export"
_TOLERANCE = 1e-4


def export(
    model: Any, path: str | os.PathLike[str], *, opset: int = 17, verbose: bool = True
) -> Path:
    """Write a model as ONNX: one LSTM node a layer, batch and time steps free.

    Two directions are one node. Masks of `Masking` and `Embedding(mask_zero=True)` become
    `sequence_lens`: padding on the right, as ONNX has no other. The file is checked by the
    package onnx, run in ONNX Runtime where it is installed, compared with the model, and only
    then put in its place.

    Args:
        model: Sequential or functional, or an LSTM; its layers compute in float32.
        path: of the file, *.onnx.
        opset: of the operators, 14 or newer.
        verbose: print the largest difference from the model.

    Returns:
        The path.

    Raises:
        ConveyorError: a layer that has no counterpart, by name, before anything is written; or
            numbers that differ from the model's.
    """
    path = Path(path)
    if path.suffix != ".onnx":
        raise lesson(_WHERE, "a file *.onnx", str(path), 'Write export(model, "model.onnx").')
    onnx = onnx_package()
    newest = onnx.defs.onnx_opset_version()
    if not 14 <= opset <= newest:
        raise lesson(_WHERE, f"an opset from 14 to {newest}", f"{opset}", "Leave opset out.")
    graph = graph_of(model, _WHERE)
    built = build_model(graph, opset, str(model.name))
    difference = _compare(built, graph)
    part = path.with_name(f".{path.name}.part")
    try:
        onnx.save(built, part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    if verbose:
        ran = (
            "not run: pip install onnxruntime"
            if difference is None
            else f"largest difference from the model in ONNX Runtime {difference:.1e}"
        )
        Console().print(f"{_WHERE}: {path}, {ran}", markup=False, highlight=False, soft_wrap=True)
    return path


def build_model(graph: Any, opset: int, title: str) -> Any:
    """The ModelProto of a functional model."""
    build = Builder(opset, one_length=len(graph.inputs) == 1)
    inputs = []
    for tensor in graph.inputs:
        dtype = str(tensor.dtype)
        shape = tuple(tensor.shape)
        kind = "int64" if "int" in dtype else "float32"
        if dtype not in ("float32", "int32", "int64"):
            raise lesson(_WHERE, "inputs in float32 or integers", dtype, "Cast the input.")
        inputs.append(Tensor(build.add_input(tensor.name, shape, kind), shape))
    outputs = _through(build, graph, inputs, "")
    for tensor, output in zip(graph.outputs, outputs, strict=True):
        build.add_output(output.name, tensor.name, output.shape)
    return build.model(title)


def _through(build: Builder, graph: Any, inputs: list[Tensor], path: str) -> list[Tensor]:
    known = {id(tensor): value for tensor, value in zip(graph.inputs, inputs, strict=True)}
    needed = needed_nodes(graph)
    for depth in sorted(graph._nodes_by_depth, reverse=True):
        for node in graph._nodes_by_depth[depth]:
            if id(node) not in needed:
                continue
            values = [known[id(tensor)] for tensor in tensors_read(node)]
            made = _emit(build, node, values, path)
            for tensor, value in zip(node.output_tensors, made, strict=True):
                known[id(tensor)] = value
    return [known[id(tensor)] for tensor in graph.outputs]


def _emit(build: Builder, node: Any, values: list[Tensor], path: str) -> list[Tensor]:
    layer = node.operation
    path = f"{path}/{layer.name}" if path else str(layer.name)
    inner = getattr(layer, "_functional", None) or layer
    if hasattr(inner, "_nodes_by_depth"):
        return _through(build, inner, values, path)
    if has_mask_of_its_own(node):
        raise _refused(path, layer, "whose mask is given at the call: let Masking make it")
    if isinstance(layer, keras.layers.Layer) and layer.compute_dtype != "float32":
        raise _refused(path, layer, f"which computes in {layer.compute_dtype}")
    if isinstance(layer, keras.layers.RNN | keras.layers.Bidirectional):
        x, *initial = values
        if initial and getattr(layer, "keras_masks", not _is_ours(layer)):
            x = Tensor(x.name, x.shape)  # Keras does not look at the mask then
        states = [state.name for state in initial]
        return emit_recurrent(build, layer, x, states, path, _refused)
    made = emit_local(build, layer, values)
    if made is None or len(node.output_tensors) > 1:
        raise _refused(path, layer, "for which there is no node yet, with these arguments")
    return [made]


def _is_ours(layer: Any) -> bool:
    return type(layer).__module__.startswith("conveyor")


def _refused(path: str, layer: Any, why: str) -> ConveyorError:
    return lesson(
        _WHERE,
        "layers that ONNX has a counterpart for",
        f'{type(layer).__name__} "{path}", {why}',
        "Export the part of the model without it: keras.Model(inputs, outputs).",
    )


def _compare(built: Any, graph: Any) -> float | None:
    """The largest difference in ONNX Runtime; None where it is not installed."""
    try:
        import onnxruntime
    except ModuleNotFoundError:
        return None
    session = onnxruntime.InferenceSession(
        built.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    largest = 0.0
    for batch, steps in ((2, 7), (1, 1)):
        x = _sample(graph, batch, steps)
        fed = {
            known.name: array.astype("int64" if "int" in array.dtype.name else "float32")
            for known, array in zip(session.get_inputs(), x, strict=True)
        }
        theirs = session.run(None, fed)
        ours = keras.tree.flatten(graph(x if len(x) > 1 else x[0], training=False))
        for a, b in zip(theirs, ours, strict=True):
            expected = np.asarray(keras.ops.convert_to_numpy(b))
            scale = max(1.0, float(np.abs(expected).max(initial=0.0)))
            largest = max(largest, float(np.abs(a - expected).max(initial=0.0)) / scale)
    if not largest <= _TOLERANCE:
        raise ConveyorError(
            f"{_WHERE}: ONNX Runtime and the model differ by {largest:.1e}; nothing was written.\n"
            "Weights that are not finite, or a fault of conveyor's: please report it."
        )
    return largest


def _sample(graph: Any, batch: int, steps: int) -> list[np.ndarray]:
    """Random inputs, with padding, for those that look for it."""
    arrays = random_inputs(graph, batch, steps)
    for array in arrays:
        if array.ndim > 1 and array.shape[1] > 2:
            array[0, -2:] = 0
    return arrays
