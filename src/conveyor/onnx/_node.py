"""One LSTM node of an ONNX graph, read with all its attributes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .._errors import ConveyorError, lesson
from ..convert._onnx import name_of, node_arrays
from ._activations import Activation, activations_of

_USUAL = ("Sigmoid", "Tanh", "Tanh")


@dataclass(frozen=True)
class LSTMNode:
    """What a node of the operator LSTM says. D is 2 for two directions, else 1.

    Attributes:
        name: of the node, or of its first output.
        direction: forward, reverse or bidirectional.
        activations: (f, g, h) of each direction: gates, candidate, on the way out.
        clip: bound of what enters an activation, or None.
        input_forget: whether the forget gate is one minus the input gate.
        layout: 0 for (T, B, F), 1 for (B, T, F).
        w: (D, 4U, F), gates in the order input, output, forget, candidate.
        r: (D, 4U, U).
        b: (D, 8U), or None.
        p: (D, 3U) peepholes, input, output, forget; or None.
    """

    name: str
    direction: str
    activations: tuple[tuple[Activation, Activation, Activation], ...]
    clip: float | None
    input_forget: bool
    layout: int
    w: np.ndarray
    r: np.ndarray
    b: np.ndarray | None
    p: np.ndarray | None

    @property
    def units(self) -> int:
        """U."""
        return int(self.r.shape[2])

    @property
    def features(self) -> int:
        """F."""
        return int(self.w.shape[2])


def read_node(model: Any, node: Any) -> LSTMNode:
    """Read one node of a ModelProto.

    Raises:
        ConveyorError: weights that the graph computes, or that are not those of an LSTM.
    """
    given = attributes(node)
    arrays = node_arrays(model, node)
    direction, functions = said(node, given, arrays, _USUAL)
    return LSTMNode(
        name=name_of(node),
        direction=direction,
        activations=tuple((f, g, h) for f, g, h in functions),
        clip=given.get("clip"),
        input_forget=bool(given.get("input_forget", 0)),
        layout=int(given.get("layout", 0)),
        w=arrays["W"],
        r=arrays["R"],
        b=arrays.get("B"),
        p=arrays.get("P"),
    )


def said(
    node: Any, given: dict[str, Any], arrays: dict[str, np.ndarray], usual: tuple[str, ...]
) -> tuple[str, list[list[Activation]]]:
    """The direction, and the activations of each.

    Args:
        node: an LSTM or a GRU.
        given: its attributes.
        arrays: its weights, which they have to fit.
        usual: the activations of one direction where none are given.

    Raises:
        ConveyorError: attributes that do not fit.
    """
    direction = given.get("direction", b"forward").decode(errors="replace")
    count, each = 2 if direction == "bidirectional" else 1, len(usual)
    names = [name.decode(errors="replace") for name in given.get("activations", [])]
    names = names or list(usual) * count
    units = int(arrays["R"].shape[2])
    problems = {
        f"direction={direction}": direction not in ("forward", "reverse", "bidirectional"),
        f"weights of {len(arrays['W'])} directions": len(arrays["W"]) != count,
        f"{len(names)} activations": len(names) != each * count,
        f"hidden_size={given.get('hidden_size')}": given.get("hidden_size", units) != units,
        f"layout={given.get('layout')}": given.get("layout", 0) not in (0, 1),
    }
    for got, is_one in problems.items():
        if is_one:
            raise damaged(node, f"{got} beside direction={direction} and {units} units")
    functions = activations_of(
        names, list(given.get("activation_alpha", [])), list(given.get("activation_beta", []))
    )
    return direction, [functions[each * d : each * (d + 1)] for d in range(count)]


_OWN = {"LSTM": "input_forget", "GRU": "linear_before_reset"}


def attributes(node: Any) -> dict[str, Any]:
    """The attributes that the operator has, by name."""
    from onnx import AttributeProto, helper

    kinds = {
        "direction": AttributeProto.STRING,
        "activations": AttributeProto.STRINGS,
        "activation_alpha": AttributeProto.FLOATS,
        "activation_beta": AttributeProto.FLOATS,
        "clip": AttributeProto.FLOAT,
        "hidden_size": AttributeProto.INT,
        _OWN[node.op_type]: AttributeProto.INT,
        "layout": AttributeProto.INT,
    }
    for attribute in node.attribute:
        if kinds.get(attribute.name) != attribute.type:
            raise damaged(node, f"the attribute {attribute.name:.50}, of type {attribute.type}")
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


def damaged(node: Any, got: str) -> ConveyorError:
    """For a node that no exporter wrote."""
    return lesson(
        f'conveyor.onnx: node "{name_of(node)}"',
        f"the attributes of the ONNX operator {node.op_type}, which fit its weights",
        got,
        "The file is damaged. Export it anew.",
    )
