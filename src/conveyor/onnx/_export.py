"""`conveyor.onnx.export`: a model of Keras as an ONNX file."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from types import EllipsisType
from typing import Any

import keras
import numpy as np
from rich.console import Console

from .._errors import ConveyorError, lesson
from ..convert._onnx import onnx_package
from ..layers._graph import arguments_of, graph_of, has_mask_of_its_own, needed_nodes, tensors_read
from ..layers._known_cells import has_gru
from ._builder import Builder, Tensor
from ._compare import difference_from
from ._emit_bidirectional import emit_bidirectional
from ._emit_gru import emit_gru
from ._emit_gru_bidirectional import emit_gru_bidirectional
from ._emit_layers import emit_local
from ._emit_lstm import emit_recurrent
from ._emit_shapes import SHAPES
from ._emit_stack import emit_stack

_WHERE = "conveyor.onnx.export"


def export(
    model: Any,
    path: str | os.PathLike[str],
    *,
    opset: int = 17,
    states: bool = False,
    verbose: bool = True,
) -> Path:
    """Write a model as ONNX: one LSTM or GRU node a layer, batch and time steps free.

    Two directions are one node. Masks of `Masking` and `Embedding(mask_zero=True)` may have any
    pattern: the steps that count are moved to the front, their number is the node's
    `sequence_lens`, and what comes of them is moved back. The file is checked by the package onnx,
    run in ONNX Runtime where it is installed, compared with the model, and only then put in its
    place.

    A layer with `outputs=` gives cell states and gates, too: gates of all steps at once from inputs
    and hidden states, the cell states from a `Scan` over them.

    With `states=True` a sequence may be fed in chunks. For every LSTM the graph has the inputs
    `<layer>.hidden_state` and `<layer>.cell_state` (B, units) besides, for a GRU the first alone,
    and outputs of these names with `.next` behind, to be fed with the next chunk. The first chunk
    is fed zeros; where the layer has learned its beginning, that is in the file's metadata by the
    names of the inputs.

    Peepholes, coupled gates, `clip` and `output_activation` are attributes of the node; what the
    operator LSTM lacks of `conveyor.LSTM` is a `Scan` of the cell's equations in its place.

    Args:
        model: Sequential or functional, an LSTM or a GRU; its layers compute in float32.
        path: of the file, *.onnx.
        opset: of the operators, from 14 to the newest that the packages onnx and onnxruntime know.
        states: states as inputs and outputs. All layers have to read forward in time.
        verbose: print the largest difference from the model.

    Returns:
        The path.

    Raises:
        ConveyorError: a layer that has no counterpart, by name, before anything is written; an
            opset that ONNX Runtime does not take; or numbers that differ from the model's.
    """
    path = Path(path)
    if path.suffix != ".onnx":
        raise lesson(_WHERE, "a file *.onnx", str(path), 'Write export(model, "model.onnx").')
    check_opset(opset, _WHERE)
    if is_seq2seq(model):
        raise lesson(
            _WHERE,
            "one graph for all steps",
            f"{type(model).__name__}, whose decoder reads what it has written",
            'Write export_translator(model, "exported/").',
        )
    graph = graph_of(model, _WHERE)
    build = Builder(opset, states=states)
    built = build_model(build, graph, str(model.name))
    difference = difference_from(built, graph, build.first_states)
    write(built, path)
    if verbose:
        Console().print(
            f"{_WHERE}: {path}, {told(difference)}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
    return path


_PARTS = ("encoder", "bridge", "decoder", "target_embedding", "begin", "step")


def is_seq2seq(model: Any) -> bool:
    """Whether this is a model of `conveyor.seq2seq`, which this package does not import."""
    return all(hasattr(model, part) for part in _PARTS)


def check_opset(opset: int, where: str) -> None:
    """Refuse one that the package onnx does not know, or that lacks an operator."""
    newest = onnx_package().defs.onnx_opset_version()
    if not 14 <= opset <= newest:
        raise lesson(where, f"an opset from 14 to {newest}", f"{opset}", "Leave opset out.")


def write(built: Any, path: Path) -> None:
    """Put a ModelProto in the place of the file; what is there stays until it is whole."""
    part = path.with_name(f".{path.name}.part")
    try:
        onnx_package().save(built, part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def told(difference: float | None) -> str:
    """For the line that is printed."""
    if difference is None:
        return "not run: pip install onnxruntime"
    return f"largest difference from the model in ONNX Runtime {difference:.1e}"


def build_model(build: Builder, graph: Any, title: str) -> Any:
    """The ModelProto of a functional model."""
    build.one_length = len(graph.inputs) == 1
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
    if node.arguments.kwargs.get("resets") is not None:
        raise _refused(path, layer, "with resets= at the call, which the operator has not")
    if has_mask_of_its_own(node):
        raise _refused(path, layer, "whose mask is given at the call: let Masking make it")
    if isinstance(layer, keras.layers.Layer) and layer.compute_dtype != "float32":
        raise _refused(path, layer, f"which computes in {layer.compute_dtype}")
    if build.states and type(layer) in SHAPES and None in values[0].shape[1:]:
        raise _refused(path, layer, "which looks at several time steps: no chunk has all of them")
    if isinstance(layer, keras.layers.RNN | keras.layers.Bidirectional):
        x, *initial = values
        both = isinstance(layer, keras.layers.Bidirectional)
        blind = _blind(layer.forward_layer if both else layer)
        if initial and both and x.mask is not None and blind != _blind(layer.backward_layer):
            raise _refused(path, layer, "one direction of which alone looks at the mask")
        unseen = x.mask if initial and blind else None
        if unseen is not None:
            x = Tensor(x.name, x.shape)
        states = [state.name for state in initial]
        emit = emit_bidirectional if both else emit_recurrent
        if getattr(layer, "bidirectional", False):
            emit = emit_stack
        if has_gru(layer):
            emit = emit_gru_bidirectional if both else emit_gru
        every = emit(build, layer, x, states, path, _refused)
        # It is handed on all the same.
        return [replace(y, mask=unseen) if unseen and len(y.shape) == 3 else y for y in every]
    if not isinstance(layer, keras.layers.Layer):
        values = _with_numbers(build, node, values)
    made = emit_local(build, layer, values)
    if made is None or len(node.output_tensors) > 1:
        raise _refused(path, layer, "for which there is no node yet, with these arguments")
    return [made]


def _with_numbers(build: Builder, node: Any, values: list[Tensor]) -> list[Tensor]:
    """What an operation reads, numbers among it as in `1 - x`; no places as in `x[:, 0]`."""
    left, every = list(values), []
    for leaf in keras.tree.flatten(arguments_of(node)):
        if isinstance(leaf, keras.KerasTensor):
            every.append(left.pop(0))
        elif leaf is not None and not isinstance(leaf, slice | str | EllipsisType):
            array = np.asarray(leaf, np.float32)
            every.append(Tensor(build.constant(array, "number"), array.shape))
    return every


def _blind(layer: Any) -> bool:
    """Whether it looks at no mask where an initial state is given, as Keras's layers do."""
    ours = type(layer).__module__.startswith("conveyor")
    return bool(getattr(layer, "keras_masks", not ours))


def _refused(path: str, layer: Any, why: str) -> ConveyorError:
    return lesson(
        _WHERE,
        "layers that ONNX has a counterpart for",
        f'{type(layer).__name__} "{path}", {why}',
        "Export the part of the model without it: keras.Model(inputs, outputs).",
    )
