"""What of a model has a time axis, and whether it can be computed window by window."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import keras
import numpy as np

from .._errors import ConveyorError, lesson
from ..layers._find import parts_of
from ..layers._graph import graph_of, needed_nodes, tensors_read
from ..layers._local_layers import is_local

WHERE = "conveyor.tbptt"

# A value for each time step, one that is the same at all of them, one that is known at the end.
Kind = Literal["steps", "constant", "end"]
# Of an input: (B, T), True at the steps that count.
MaskOf = Callable[[np.ndarray], np.ndarray]


@dataclass
class TimeAxis:
    """What windows are cut from, and the layers that hand their states on.

    Attributes:
        graph: the functional model.
        models: it, and those inside.
        inputs: for each input, whether it has a time axis.
        recurrent: the layers, by their paths.
        masks: by the number of an input, how a layer right behind it makes its mask.
    """

    graph: Any
    models: list[Any] = field(default_factory=list)
    inputs: list[bool] = field(default_factory=list)
    recurrent: dict[str, Any] = field(default_factory=dict)
    masks: dict[int, MaskOf] = field(default_factory=dict)

    def cut(self, x: Any) -> Any:
        """For each array of the user's `x`, whether it has a time axis."""
        tensors = self.graph._inputs_struct
        known = {id(t): flag for t, flag in zip(self.graph.inputs, self.inputs, strict=True)}
        if isinstance(x, dict):
            if not isinstance(tensors, dict):
                tensors = {tensor.name: tensor for tensor in self.graph.inputs}
            return {name: known.get(id(tensors.get(name)), False) for name in x}
        return keras.tree.pack_sequence_as(x, self.inputs)

    def padding(self, x: Any) -> bool:
        """Whether nothing of `x`, a window, counts."""
        timed = [n for n, flag in enumerate(self.inputs) if flag]
        if not set(timed) <= set(self.masks):
            return False
        arrays = self._in_order(x)
        return not any(self.masks[n](arrays[n]).any() for n in timed)

    def _in_order(self, x: Any) -> list[Any]:
        if isinstance(x, dict) and not isinstance(self.graph._inputs_struct, dict):
            return [x[tensor.name] for tensor in self.graph.inputs]
        return list(keras.tree.flatten(x))


def time_axis_of(model: Any) -> TimeAxis:
    """Follow the time axis from the inputs to the outputs.

    Raises:
        ConveyorError: no model that a graph is known of, or one that is another in windows.
    """
    graph = graph_of(model, WHERE)
    found = TimeAxis(graph)
    found.inputs = [_has_time_axis(tensor, graph) for tensor in graph.inputs]
    kinds: list[Kind] = ["steps" if flag else "constant" for flag in found.inputs]
    for tensor, kind in zip(graph.outputs, _through(found, graph, kinds, ""), strict=True):
        if kind != "steps":
            raise _without_time_axis(tensor)
    if not found.recurrent:
        raise lesson(
            WHERE,
            "a model with an LSTM inside",
            f'"{model.name}", which holds none that hands on its states',
            "Without a memory every window is a sequence of its own: call model.fit.",
        )
    return found


def _has_time_axis(tensor: Any, graph: Any) -> bool:
    """Whether an input has one: ids (B, T), and all that has more axes than (B, features)."""
    shape = tensor.shape
    if len(shape) != 2:
        return len(shape) > 2
    if shape[1] is None:
        return True
    ids = "int" in str(tensor.dtype) or str(tensor.dtype) == "bool"
    read_by = [
        node.operation
        for nodes in graph._nodes_by_depth.values()
        for node in nodes
        if any(read is tensor for read in tensors_read(node))
    ]
    ids = ids or any(isinstance(layer, keras.layers.Embedding) for layer in read_by)
    return bool(ids and shape[1] != 1)


def _through(found: TimeAxis, graph: Any, inputs: list[Kind], path: str) -> list[Kind]:
    """The kinds of the outputs of a graph."""
    found.models.append(graph)
    known = {id(tensor): kind for tensor, kind in zip(graph.inputs, inputs, strict=True)}
    needed = needed_nodes(graph)
    for depth in sorted(graph._nodes_by_depth, reverse=True):
        for node in graph._nodes_by_depth[depth]:
            if id(node) not in needed:
                continue
            if not path:
                _note_mask(found, node)
            kinds = [known[id(tensor)] for tensor in tensors_read(node)]
            below = f"{path}/{node.operation.name}" if path else str(node.operation.name)
            for tensor, kind in zip(
                node.output_tensors, _kinds_of(found, node, kinds, below), strict=True
            ):
                known[id(tensor)] = kind
    return [known[id(tensor)] for tensor in graph.outputs]


def _kinds_of(found: TimeAxis, node: Any, kinds: list[Kind], path: str) -> list[Kind]:
    """The kinds of what one operation returns."""
    layer = node.operation
    inner = getattr(layer, "_functional", None) or layer
    if hasattr(inner, "_nodes_by_depth"):
        if inner is not layer:
            found.models.append(layer)
        return _through(found, inner, kinds, path)
    if "steps" not in kinds:
        kind: Kind = "end" if "end" in kinds else "constant"
        return [kind] * len(node.output_tensors)
    if isinstance(layer, keras.layers.RNN | keras.layers.Bidirectional):
        read = tensors_read(node)
        resets = node.arguments.kwargs.get("resets")
        if isinstance(resets, keras.KerasTensor):
            _check_resets(layer, kinds.pop([r is resets for r in read].index(True)), path)
        _check_recurrent(found, layer, kinds, path)
        parts = {f"{path}/{part.name}": part for part in parts_of(layer)}
        found.recurrent |= parts or {path: layer}
        rank = len(read[0].shape)
        return ["steps" if len(t.shape) == rank else "end" for t in node.output_tensors]
    if set(kinds) != {"steps"}:
        raise _refused(path, layer, "which joins values with and without a time axis")
    if not is_local(layer, node):
        raise _refused(path, layer, "which looks at several time steps at once, or at their number")
    return ["steps"] * len(node.output_tensors)


def _check_resets(layer: Any, kind: Kind, path: str) -> None:
    if kind != "steps":
        raise _refused(path, layer, "whose resets are no input with time steps: Input((None,))")
    if getattr(layer, "initial_state", None) is not None:
        # In a window that begins with the state of the one before, this is not the learned one.
        raise _refused(path, layer, 'with resets= and initial_state="learned"')


def _check_recurrent(found: TimeAxis, layer: Any, kinds: list[Kind], path: str) -> None:
    both = isinstance(layer, keras.layers.Bidirectional) or getattr(layer, "bidirectional", False)
    if both or layer.go_backwards:
        raise _refused(
            path, layer, "which reads the last time step first: no window but the last has it"
        )
    if layer.stateful:
        raise _refused(path, layer, "with stateful=True, whose states are those of other calls")
    if "end" in kinds[1:] or "steps" in kinds[1:]:
        raise _refused(path, layer, "whose initial_state is known at the end of a sequence only")
    own = [layer, *parts_of(layer)]
    if any(one is other for one in own for other in found.recurrent.values()):
        raise _refused(path, layer, "which is called twice, and could hand on one state alone")


def _refused(path: str, layer: Any, why: str) -> ConveyorError:
    return lesson(
        WHERE,
        "layers that compute a window from it and from what was before",
        f'{type(layer).__name__} "{path}", {why}',
        "Train this model with model.fit on shorter sequences. A layer that computes each time "
        "step from itself alone is let through as keras.layers.TimeDistributed(layer).",
    )


def _without_time_axis(tensor: Any) -> ConveyorError:
    return lesson(
        WHERE,
        "outputs for every time step, (batch, time_steps, ...), as every window has a loss",
        f'"{tensor._keras_history.operation.name}" of shape {tuple(tensor.shape)}, known at the '
        "end of a sequence",
        "Write return_sequences=True in the last LSTM, and give the label at every time step: "
        "y = np.repeat(y[:, None], time_steps, axis=1); a sample_weight of shape "
        "(sequences, time_steps) says which steps count. The trained weights fit the model "
        "without it.",
    )


def _note_mask(found: TimeAxis, node: Any) -> None:
    """Keep how a mask is made, if this layer makes one of an input of the model."""
    layer = node.operation
    read = tensors_read(node)
    numbers = [n for n, x in enumerate(found.graph.inputs) if any(x is tensor for tensor in read)]
    if isinstance(layer, keras.layers.Masking) and numbers:
        value = layer.mask_value
        found.masks[numbers[0]] = lambda x: np.any(x != value, axis=-1)
    elif isinstance(layer, keras.layers.Embedding) and layer.mask_zero and numbers:
        found.masks[numbers[0]] = lambda x: x != 0
