"""A model as a list of operations on one time step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras

from .._errors import ConveyorError, lesson
from ..layers import GRU, LSTM
from ..layers._graph import arguments_of, graph_of, has_mask_of_its_own, needed_nodes, tensors_read
from ..layers._known_cells import cells_of, has_gru, is_gru_cell, why_unknown
from ..layers._local_layers import is_local
from ._cells import Cell, Recurrent, cell_of
from ._local import ByKeras, Place, in_numpy
from ._sessions import WHERE
from ._values import Rows, Value


@dataclass
class Plan:
    """What a stream does at each step.

    Attributes:
        steps: operations, and the numbers of the values that they read. Values have numbers in
            the order in which they are written, those of the inputs first.
        outputs: numbers of values.
        cells: the LSTMs and GRUs, in their order.
        times: by number, whether the value has a time axis in the model.
        shapes: of the inputs at one time step.
        dtypes: of the inputs.
        structure: of the outputs; None for a single one.
    """

    engine: str
    steps: list[tuple[Any, list[int]]] = field(default_factory=list)
    cells: list[Cell] = field(default_factory=list)
    times: list[bool] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)
    shapes: list[tuple[int | None, ...]] = field(default_factory=list)
    dtypes: list[str] = field(default_factory=list)
    structure: Any = None

    def run(self, inputs: list[Value], rows: Rows) -> list[Value]:
        """One step of these rows."""
        values = inputs  # each operation writes the numbers that follow
        for operation, reads in self.steps:
            values += operation([values[number] for number in reads], rows)
        return [values[number] for number in self.outputs]

    def feed(self, inputs: list[Value], rows: Rows) -> list[Value]:
        """Several steps of these rows, an operation at a time: arrays are (T, B, ...)."""
        values = inputs
        for operation, reads in self.steps:
            given = [values[number] for number in reads]
            if isinstance(operation, Recurrent):
                values += operation.feed(given, rows)
            elif self.times[reads[0]]:
                values += _all_at_once(operation, given, rows)
            else:
                values += operation(given, rows)
        return [values[number] for number in self.outputs]

    def new(self, time: bool) -> int:
        """The number of one more value."""
        self.times.append(time)
        return len(self.times) - 1


def _all_at_once(operation: Any, values: list[Value], rows: Rows) -> list[Value]:
    """What has no memory does the same with steps as with rows."""
    steps = values[0].array.shape[0]
    flat = [
        Value(
            value.array.reshape(-1, *value.array.shape[2:]),
            None if value.mask is None else value.mask.reshape(-1),
        )
        for value in values
    ]
    return [
        Value(
            value.array.reshape(steps, -1, *value.array.shape[1:]),
            None if value.mask is None else value.mask.reshape(steps, -1),
        )
        for value in operation(flat, rows)
    ]


def plan_of(model: Any, engine: str) -> Plan:
    """How a model is run step by step.

    Raises:
        ConveyorError: no model that a graph is known of, or a layer that needs more than the past.
    """
    graph = graph_of(model, WHERE)
    plan = Plan(engine)
    for tensor in graph.inputs:
        if len(tensor.shape) < 2 or (tensor.shape[1] is not None and tensor.shape[1] == 0):
            raise lesson(
                WHERE,
                "inputs of shape (batch, time_steps, ...)",
                f"an input of shape {tuple(tensor.shape)}",
                "Begin the model with Input(shape=(None, features)).",
            )
        plan.new(True)
        plan.shapes.append(tuple(tensor.shape[2:]))
        plan.dtypes.append(str(tensor.dtype))
    plan.outputs = _through(plan, graph, list(range(len(graph.inputs))), "")
    if len(plan.outputs) > 1 or isinstance(graph._outputs_struct, (list, tuple, dict)):
        plan.structure = graph._outputs_struct
    if not plan.cells:
        raise lesson(
            WHERE,
            "a model with an LSTM or a GRU inside",
            f'"{model.name}", which holds none',
            "Without a memory there is nothing to stream: call the model.",
        )
    return plan


def _through(plan: Plan, graph: Any, inputs: list[int], path: str) -> list[int]:
    """Add the operations of a graph that reads these values; the numbers of its outputs."""
    known = {id(tensor): number for tensor, number in zip(graph.inputs, inputs, strict=True)}
    needed = needed_nodes(graph)
    for depth in sorted(graph._nodes_by_depth, reverse=True):
        for node in graph._nodes_by_depth[depth]:
            if id(node) not in needed:
                continue
            numbers = [known[id(tensor)] for tensor in tensors_read(node)]
            written = _add(plan, node, numbers, path)
            for tensor, number in zip(node.output_tensors, written, strict=True):
                known[id(tensor)] = number
    return [known[id(tensor)] for tensor in graph.outputs]


def _add(plan: Plan, node: Any, numbers: list[int], path: str) -> list[int]:
    """Add one operation; the numbers of what it writes."""
    layer = node.operation
    path = f"{path}/{layer.name}" if path else str(layer.name)
    time = any(plan.times[number] for number in numbers)
    inner = getattr(layer, "_functional", None) or layer
    if hasattr(inner, "_nodes_by_depth"):
        if not all(plan.times[number] for number in numbers):
            return _write(plan, node, numbers, _by_keras(node, False), False)
        return _through(plan, inner, numbers, path)
    if not time:
        return _write(plan, node, numbers, _numpy_or_keras(node, False), False)
    if isinstance(layer, keras.layers.RNN | keras.layers.Bidirectional):
        return _add_recurrent(plan, node, numbers, path)
    if not all(plan.times[number] for number in numbers):
        raise refused(
            path, layer, "which joins each time step with what is known after the last one alone"
        )
    if not is_local(layer, node):
        raise refused(path, layer, "which looks at several time steps at once, or at their number")
    return _write(plan, node, numbers, _numpy_or_keras(node, True), True)


def _write(plan: Plan, node: Any, numbers: list[int], operation: Any, time: bool) -> list[int]:
    written = [plan.new(time) for _ in node.output_tensors]
    plan.steps.append((operation, numbers))
    return written


def refused(path: str, layer: Any, why: str) -> ConveyorError:
    """For a layer that a stream cannot have."""
    return lesson(
        WHERE,
        "layers that need nothing but the past",
        f'{type(layer).__name__} "{path}", {why}',
        "Leave it out of what is streamed, or train a model without it.",
    )


# ---------------------------------------------------------------------------- recurrent


def _add_recurrent(plan: Plan, node: Any, numbers: list[int], path: str) -> list[int]:
    layer = node.operation
    both = isinstance(layer, keras.layers.Bidirectional) or getattr(layer, "bidirectional", False)
    if both or layer.go_backwards:
        raise refused(
            path, layer, "which reads the last time step first: it would have to wait for the end"
        )
    if node.arguments.kwargs.get("resets") is not None:
        raise refused(path, layer, "with resets= at the call: a sequence is a session of its own")
    if has_mask_of_its_own(node):
        raise refused(
            path, layer, "whose mask is given at the call: Masking and Embedding make one"
        )
    if len(numbers) > 1:
        raise refused(
            path,
            layer,
            "whose initial_state is given by another layer: a session begins with zeros",
        )
    reason = why_unknown(layer)
    if reason is not None:
        raise refused(path, layer, f"with {reason}")
    names = _outputs_of(layer, path)
    several = len(cells_of(layer)) > 1
    cells = [
        cell_of(f"{path}/{n}" if several else path, cell, plan.engine, _initial(cell))
        for n, cell in enumerate(cells_of(layer))
    ]
    plan.cells += cells
    # Whether there is a time axis in the model: behind the last state there is none.
    times = tuple(len(tensor.shape) == 3 for tensor in node.output_tensors)
    operation = Recurrent(cells, names, times, bool(layer.zero_output_for_mask))
    written = [plan.new(time) for time in times]
    plan.steps.append((operation, numbers))
    return written


_NAMES = {"hidden_states": "first", "cell_states": "cell", "cell_state": "cell"}


def _outputs_of(layer: Any, path: str) -> tuple[str, ...]:
    if isinstance(layer, LSTM | GRU) and layer.outputs is not None:
        gates = [name for name in layer.outputs if "gate" in name or name == "candidates"]
        if gates:
            raise refused(path, layer, f"which returns {gates[0]}: a stream has states alone")
        return tuple(_NAMES.get(name, "hidden") for name in layer.outputs)
    if not layer.return_state:
        return ("first",)
    if len(cells_of(layer)) > 1:
        raise refused(path, layer, "a stack of cells that returns its states: ask stream.states()")
    return ("first", "hidden") if has_gru(layer) else ("first", "hidden", "cell")


def _initial(cell: Any) -> tuple[Any, ...]:
    names = ("hidden_state",) if is_gru_cell(cell) else ("hidden_state", "cell_state")
    if not getattr(cell, "learns_initial_state", False):
        return (0.0,) * len(names)
    return tuple(keras.ops.convert_to_numpy(getattr(cell, f"initial_{name}")) for name in names)


# -------------------------------------------------------------------------------- local


def _numpy_or_keras(node: Any, time: bool) -> Callable[..., list[Value]]:
    layer = node.operation
    if isinstance(layer, keras.layers.Layer):
        weights = [keras.ops.convert_to_numpy(w) for w in layer.weights]
        operation = in_numpy(layer, weights)
        if operation is not None:
            return operation
    return _by_keras(node, time)


def _by_keras(node: Any, time: bool) -> ByKeras:
    places = {id(tensor): Place(n) for n, tensor in enumerate(tensors_read(node))}

    def placed(x: Any) -> Any:
        return places.get(id(x), x)

    return ByKeras(node.operation, keras.tree.map_structure(placed, arguments_of(node)), time)
