"""Weights of the ONNX operator GRU."""

from __future__ import annotations

from typing import Any

from .._errors import lesson
from ._gru_layouts import gru_onnx_layer, pack_gru
from ._gru_weights import GRUWeights
from ._onnx import _chain, _inputs, name_of, node_arrays, onnx_package


def grus_in_graph(model: Any, name: str | None) -> bool:
    """Whether GRU nodes are meant: by their name, or because there are no LSTMs."""
    nodes = [n for n in model.graph.node if n.op_type in ("LSTM", "GRU") and not n.domain]
    meant = {node.op_type for node in nodes if name in (None, name_of(node))}
    return meant == {"GRU"}


def weights_of_gru_nodes(model: Any, nodes: list[Any]) -> GRUWeights:
    """The weights of nodes on top of each other."""
    layers = []
    for node in nodes:
        reset_after = _reset_after(node)
        layers.append(gru_onnx_layer(node_arrays(model, node), reset_after))
    return GRUWeights(tuple(layers))


def _reset_after(node: Any) -> bool:
    """The form, once the other attributes are known to say nothing."""
    from onnx import helper

    given = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    directions = 2 if given.get("direction") == b"bidirectional" else 1
    usual: dict[str, Any] = {
        "activations": [b"Sigmoid", b"Tanh"] * directions,
        "clip": None,
        "direction": given.get("direction", b"forward") if directions == 2 else b"forward",
    }
    for attribute, value in usual.items():
        if attribute in given and given[attribute] != value:
            raise lesson(
                f'conveyor.convert: node "{node.name}"',
                "a GRU with the usual activations that reads forward, whose weights say all",
                f"{attribute}={given[attribute]!r}",
                "Write conveyor.onnx.load_gru(path), which gives the node as a layer.",
            )
    return bool(given.get("linear_before_reset", 0))


def onnx_gru_model(weights: GRUWeights) -> Any:
    """A ModelProto of GRU nodes, (B, T, F) to (B, T, D * U), batch and time free."""
    onnx_package()
    from onnx import helper, numpy_helper

    arrays = pack_gru(weights, "onnx")
    nodes = []
    for n, layer in enumerate(weights.layers):
        named = {part: f"layers.{n}.{part}" for part in "WRB" if f"layers.{n}.{part}" in arrays}
        node = helper.make_node(
            "GRU",
            _inputs(f"steps_{n}", named),
            [f"y_{n}"],
            name=f"gru_{n}",
            direction="bidirectional" if len(layer) == 2 else "forward",
            hidden_size=layer[0].units,
            linear_before_reset=int(layer[0].reset_after),
        )
        nodes.append(node)
    return _chain(nodes, [numpy_helper.from_array(a, name) for name, a in arrays.items()], weights)
