"""The graph of a model: its operations, and what each reads."""

from __future__ import annotations

from typing import Any

import keras
from keras.src.backend import get_keras_mask  # Keras has no public name for it

from .._errors import lesson
from ._known_cells import cells_of, why_unknown


def graph_of(model: Any, where: str) -> Any:
    """A functional model that computes what this one does.

    Raises:
        ConveyorError: one whose call is Python, or that is not built.
    """
    if isinstance(model, keras.Sequential) and model.built and model._functional is not None:
        return model._functional
    if isinstance(model, keras.Model) and hasattr(model, "_nodes_by_depth"):
        return model
    if isinstance(model, keras.layers.Layer) and model.built:
        kind = type(model).__name__
        if isinstance(model, keras.layers.RNN):
            features = cells_of(model)[0].kernel.shape[0] if why_unknown(model) is None else None
            x = keras.Input((None, features))
            return keras.Model(x, model(x))
        raise lesson(
            where,
            "a Sequential or functional model, an LSTM or a GRU",
            f"{kind}, whose call is Python that cannot be looked into",
            "Build its layers into keras.Model(inputs, outputs), or take its LSTMs one by one.",
        )
    raise lesson(
        where,
        "a model with its weights",
        f"{type(model).__name__}, which is not built"
        if isinstance(model, keras.layers.Layer)
        else type(model).__name__,
        "Begin the model with Input(shape=(None, features)), or call it once; load its weights.",
    )


def needed_nodes(graph: Any) -> set[int]:
    """The nodes that the outputs depend on, without those that compute masks.

    Keras makes the mask of an input a part of the graph; here it goes with its value.
    """
    makers = {
        id(tensor): node
        for nodes in graph._nodes_by_depth.values()
        for node in nodes
        for tensor in node.output_tensors
        if not node.is_input
    }
    inputs = {id(tensor) for tensor in graph.inputs}
    needed, waiting = set(), list(graph.outputs)
    while waiting:
        tensor = waiting.pop()
        node = makers.get(id(tensor))
        if id(tensor) not in inputs and node is not None and id(node) not in needed:
            needed.add(id(node))
            waiting += tensors_read(node)
    return needed


def arguments_of(node: Any) -> tuple[list[Any], dict[str, Any]]:
    """What an operation is called with, but the mask."""
    kwargs = {name: value for name, value in node.arguments.kwargs.items() if name != "mask"}
    return list(node.arguments.args), kwargs


def tensors_read(node: Any) -> list[Any]:
    """The tensors among them."""
    leaves = keras.tree.flatten(arguments_of(node))
    return [leaf for leaf in leaves if isinstance(leaf, keras.KerasTensor)]


def has_mask_of_its_own(node: Any) -> bool:
    """Whether an operation is given another mask than the one that comes with its input."""
    given = node.arguments.kwargs.get("mask")
    return given is not None and not _same(given, get_keras_mask(tensors_read(node)[0]))


def _same(a: Any, b: Any) -> bool:
    """Whether two tensors are computed in the same way.

    A model that was read from a file computes its masks beside those that its layers make anew.
    """
    if a is b:
        return True
    if not all(isinstance(x, keras.KerasTensor) for x in (a, b)):
        return type(a) is type(b) and bool(a == b)
    one, other = (x._keras_history for x in (a, b))
    if type(one.operation) is not type(other.operation) or one.tensor_index != other.tensor_index:
        return False
    if isinstance(one.operation, keras.layers.Layer):
        return one.operation is other.operation and one.node_index == other.node_index
    leaves = [
        keras.tree.flatten(arguments_of(x.operation._inbound_nodes[x.node_index]))
        for x in (one, other)
    ]
    return len(leaves[0]) == len(leaves[1]) and all(map(_same, *leaves))
