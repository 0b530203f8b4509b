"""One LSTM node of an ONNX graph, read with all its attributes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..convert._onnx import node_arrays
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
    from onnx import helper

    given = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    direction = given.get("direction", b"forward").decode()
    count = 2 if direction == "bidirectional" else 1
    names = [name.decode() for name in given.get("activations", [])] or list(_USUAL) * count
    functions = activations_of(
        names, list(given.get("activation_alpha", [])), list(given.get("activation_beta", []))
    )
    arrays = node_arrays(model, node)
    return LSTMNode(
        name=node.name or next(filter(None, node.output), "lstm"),
        direction=direction,
        activations=tuple(
            (functions[3 * d], functions[3 * d + 1], functions[3 * d + 2]) for d in range(count)
        ),
        clip=given.get("clip"),
        input_forget=bool(given.get("input_forget", 0)),
        layout=int(given.get("layout", 0)),
        w=arrays["W"],
        r=arrays["R"],
        b=arrays.get("B"),
        p=arrays.get("P"),
    )
