"""`conveyor.onnx.load_lstm`: a node of a graph as a layer."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from .._errors import lesson
from ..convert._onnx import name_of, pick, read_onnx
from ..convert._onnx_arrays import onnx_layer
from ..layers import LSTM, Bidirectional
from ._activations import Activation, in_keras, is_odd_about_half
from ._node import LSTMNode, read_node


def load_lstm(path: str | os.PathLike[str] | Any, name: str | None = None) -> Any:
    """An LSTM node of an ONNX file as a layer with the numbers of the specification.

    The layer reads (batch, time_steps, features), whatever the node's layout is. It returns
    hidden_states, hidden_state and cell_state, which ONNX calls Y, Y_h and Y_c. What the graph
    gives the node as `sequence_lens` and initial states are `lengths=` and `initial_state=` at
    the call; at the steps behind its length a sequence repeats its last state, where ONNX, and
    Keras's Bidirectional, have zeros. `P` are peepholes, `input_forget=1` is `coupled=True`.
    `clip` bounds what enters gates and candidate, as in ONNX Runtime; the text of ONNX names all
    activations, and the one on the way out is none of these.

    Args:
        path: of the file, or a ModelProto.
        name: of the node, or of its first output, where there are several.

    Returns:
        `conveyor.LSTM`; for two directions a `conveyor.Bidirectional` of two, which returns
        both hidden states side by side, then hidden and cell state forward and backward. With
        `direction="reverse"` the layer has `go_backwards=True`: hidden states come in the order
        in which it reads.

    Raises:
        ConveyorError: a file that is not valid, several nodes and no name, or `input_forget=1`
            with another activation of the gates than the sigmoid, or a hard one with beta 0.5.

    >>> from conveyor import convert
    >>> layer = LSTM(4)
    >>> layer.build((None, None, 3))
    >>> again = load_lstm(convert.to_onnx(layer, verbose=False))
    >>> again.units, again.output_names()
    (4, ('hidden_states', 'hidden_state', 'cell_state'))
    """
    node = read_node(*one_node(path, name, "LSTM"))
    _check(node)
    arrays = {"W": node.w, "R": node.r, "B": node.b, "P": node.p}
    there = {part: array for part, array in arrays.items() if array is not None}
    cells = onnx_layer(there, node.input_forget)
    dtype = cells[0].kernel.dtype.name
    layers = [
        LSTM(
            node.units,
            activation=in_keras(node.activations[d][1]),
            recurrent_activation=in_keras(node.activations[d][0]),
            output_activation=_other(node.activations[d]),
            use_bias=node.b is not None,
            peephole=node.p is not None,
            coupled=node.input_forget,
            clip=node.clip,
            return_sequences=True,
            return_state=True,
            go_backwards=d == 1 or node.direction == "reverse",
            dtype=dtype,
        )
        for d in range(len(cells))
    ]
    for layer, cell in zip(layers, cells, strict=True):
        layer.build((None, None, node.features))
        weights = [cell.kernel, cell.recurrent_kernel, cell.bias, cell.peepholes]
        known = [weight for weight in weights if weight is not None]
        layer.set_weights([w.reshape(v.shape) for w, v in zip(known, layer.weights, strict=True)])
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
    both = Bidirectional(layers[0], backward_layer=layers[1], dtype=dtype)
    both.build((None, None, layers[0].cell.kernel.shape[0]))
    # Keras makes copies of the two.
    both.set_weights([weight for layer in layers for weight in layer.get_weights()])
    return both


def _other(activations: tuple[Activation, Activation, Activation]) -> Any:
    """The function on the way out, where it is not that of the candidate."""
    _, candidate, out = activations
    return None if out == candidate else in_keras(out)


def _check(node: LSTMNode) -> None:
    for gates, _, _ in node.activations:
        if node.input_forget and not is_odd_about_half(in_keras(gates)):
            raise lesson(
                f'conveyor.onnx.load_lstm: node "{node.name}"',
                "input_forget=1 with sigmoid, or hardsigmoid with beta=0.5, whose 1 - f(z) is "
                "f(-z): ONNX makes the forget gate of the input gate, conveyor.LSTM the input "
                "gate of the forget gate",
                str(gates),
                "Run it in ONNX Runtime.",
            )
