"""`conveyor.onnx.load_gru`: a GRU node of a graph as a layer."""

from __future__ import annotations

import os
from typing import Any

from .._errors import lesson
from ..convert._gru_layouts import gru_onnx_layer
from ..convert._onnx import name_of, node_arrays
from ..layers import GRU
from ._activations import in_keras
from ._load import one_node, one_or_both
from ._node import attributes, damaged, said


def load_gru(path: str | os.PathLike[str] | Any, name: str | None = None) -> Any:
    """A GRU node of an ONNX file as a layer with the numbers of the specification.

    The layer reads (batch, time_steps, features), whatever the node's layout is. It returns
    hidden_states and hidden_state, which ONNX calls Y and Y_h. What the graph gives the node as
    `sequence_lens` and initial state is `lengths=` and `initial_state=` at the call; at the steps
    behind its length a sequence repeats its last state, where ONNX, and Keras's Bidirectional, have
    zeros. `linear_before_reset` is `reset_after`.

    Args:
        path: of the file, or a ModelProto.
        name: of the node, or of its first output, where there are several.

    Returns:
        `conveyor.GRU`; for two directions a `keras.layers.Bidirectional` of two, which returns
        both hidden states side by side, then the hidden state forward and backward. With
        `direction="reverse"` the layer has `go_backwards=True`: hidden states come in the order
        in which it reads.

    Raises:
        ConveyorError: a file that is not valid, several nodes and no name, or a node with `clip`,
            which the layer does not have.

    >>> from conveyor import convert
    >>> layer = GRU(4)
    >>> layer.build((None, None, 3))
    >>> again = load_gru(convert.to_onnx(layer, verbose=False))
    >>> again.units, again.output_names()
    (4, ('hidden_states', 'hidden_state'))
    """
    model, node = one_node(path, name, "GRU")
    given = attributes(node)
    arrays = node_arrays(model, node)
    direction, activations = said(node, given, arrays, ("Sigmoid", "Tanh"))
    if given.get("linear_before_reset", 0) not in (0, 1):
        raise damaged(node, f"linear_before_reset={given['linear_before_reset']}")
    if given.get("clip") is not None:
        raise lesson(
            f'conveyor.onnx.load_gru: node "{name_of(node)}"',
            "a node that conveyor.GRU has all of",
            f"clip={given['clip']}",
            "Run it in ONNX Runtime; conveyor.GRU has no bounds.",
        )
    cells = gru_onnx_layer(arrays, bool(given.get("linear_before_reset", 0)))
    layers = []
    for d, (cell, (gates, candidate)) in enumerate(zip(cells, activations, strict=True)):
        layer = GRU(
            cell.units,
            activation=in_keras(candidate),
            recurrent_activation=in_keras(gates),
            use_bias=cell.bias is not None,
            reset_after=cell.reset_after,
            return_sequences=True,
            return_state=True,
            go_backwards=d == 1 or direction == "reverse",
            dtype=cell.kernel.dtype.name,
        )
        layer.build((None, None, cell.features))
        layer.set_weights(list(cell.arrays().values()))
        layers.append(layer)
    return one_or_both(layers)
