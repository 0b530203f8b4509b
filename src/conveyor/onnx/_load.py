"""`conveyor.onnx.load_lstm`: a node of a graph as a layer."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import keras

from .._errors import lesson
from ..convert._layouts import onnx_layer
from ..convert._onnx import name_of, pick, read_onnx
from ..layers import LSTM
from ._activations import in_keras
from ._node import LSTMNode, read_node


def load_lstm(path: str | os.PathLike[str] | Any, name: str | None = None) -> Any:
    """An LSTM node of an ONNX file as a layer with the numbers of the specification.

    The layer reads (batch, time_steps, features), whatever the node's layout is. It returns
    hidden_states, hidden_state and cell_state, which ONNX calls Y, Y_h and Y_c. What the graph
    gives the node as `sequence_lens` and initial states are `lengths=` and `initial_state=` at
    the call; at the steps behind its length a sequence repeats its last state, where ONNX, and
    Keras's Bidirectional, have zeros.

    Args:
        path: of the file, or a ModelProto.
        name: of the node, or of its first output, where there are several.

    Returns:
        `conveyor.LSTM`; for two directions a `keras.layers.Bidirectional` of two, which returns
        both hidden states side by side, then hidden and cell state forward and backward. With
        `direction="reverse"` the layer has `go_backwards=True`: hidden states come in the order
        in which it reads.

    Raises:
        ConveyorError: a file that is not valid, several nodes and no name, or a node with a
            variant that the layer does not have: peepholes, clip, input_forget, or different
            activations for the candidate and on the way out.

    >>> from conveyor import convert
    >>> layer = LSTM(4)
    >>> layer.build((None, None, 3))
    >>> again = load_lstm(convert.to_onnx(layer, verbose=False))
    >>> again.units, again.output_names()
    (4, ('hidden_states', 'hidden_state', 'cell_state'))
    """
    node = read_node(*one_node(path, name, "LSTM"))
    _check(node)
    arrays = {"W": node.w, "R": node.r} | ({} if node.b is None else {"B": node.b})
    cells = onnx_layer(arrays)
    dtype = cells[0].kernel.dtype.name
    layers = [
        LSTM(
            node.units,
            activation=in_keras(node.activations[d][1]),
            recurrent_activation=in_keras(node.activations[d][0]),
            use_bias=node.b is not None,
            return_sequences=True,
            return_state=True,
            go_backwards=d == 1 or node.direction == "reverse",
            dtype=dtype,
        )
        for d in range(len(cells))
    ]
    for layer, cell in zip(layers, cells, strict=True):
        layer.build((None, None, node.features))
        weights = [cell.kernel, cell.recurrent_kernel]
        layer.set_weights(weights if cell.bias is None else [*weights, cell.bias])
    return one_or_both(layers)


def one_node(path: str | os.PathLike[str] | Any, name: str | None, kind: str) -> tuple[Any, Any]:
    """A ModelProto, and its only LSTM or GRU node, or that of this name."""
    model = read_onnx(Path(path)) if isinstance(path, (str, os.PathLike)) else path
    nodes = pick(model, name, kind)
    if len(nodes) > 1:
        where = f"load_{kind.lower()}"
        raise lesson(
            f"conveyor.onnx.{where}",
            f"the name of one of its {kind} nodes: {', '.join(repr(name_of(n)) for n in nodes)}",
            f"name={name!r}",
            f"Write {where}(path, name={name_of(nodes[0])!r}).",
        )
    return model, nodes[0]


def one_or_both(layers: list[Any]) -> Any:
    """A built layer, or two in one Bidirectional."""
    if len(layers) == 1:
        return layers[0]
    dtype = layers[0].dtype_policy
    both = keras.layers.Bidirectional(layers[0], backward_layer=layers[1], dtype=dtype)
    both.build((None, None, layers[0].cell.kernel.shape[0]))
    # Keras makes copies of the two.
    both.set_weights([weight for layer in layers for weight in layer.get_weights()])
    return both


def _check(node: LSTMNode) -> None:
    lacking = {
        "peepholes (P)": node.p is not None and bool(node.p.any()),
        f"clip={node.clip}": node.clip is not None,
        "input_forget=1": node.input_forget,
    }
    for f, g, h in node.activations:
        lacking[f"activations {f}, {g}, {h}: two different ones for candidate and output"] = g != h
    for what, is_so in lacking.items():
        if is_so:
            raise lesson(
                f'conveyor.onnx.load_lstm: node "{node.name}"',
                "a node that conveyor.LSTM has all of",
                what,
                "Run it in ONNX Runtime; conveyor.LSTM does not have this variant yet.",
            )
