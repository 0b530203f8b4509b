"""Weights of the ONNX operator LSTM."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from .._errors import lesson
from ._gru_weights import GRUWeights
from ._layouts import listed, pack
from ._onnx_arrays import onnx_layer
from ._weights import CellWeights, LSTMWeights

_OPSET = 14


def onnx_package() -> Any:
    """The package `onnx`, or an error that says how to install it."""
    try:
        import onnx
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            'ONNX files need the package onnx: pip install "conveyor[onnx]".'
        ) from None
    return onnx


def pick(model: Any, name: str | None = None, kind: str = "LSTM") -> list[Any]:
    """The LSTM or GRU nodes of a ModelProto, in their order; or the node `name`."""
    graph = model.graph
    nodes = [node for node in graph.node if node.op_type == kind and not node.domain]
    names = [name_of(node) for node in nodes]
    chosen = [node for node, known in zip(nodes, names, strict=True) if name in (None, known)]
    if not chosen:
        others = ", ".join(sorted({node.op_type for node in graph.node}))
        raise lesson(
            "conveyor.convert",
            f"one of the {kind} nodes {', '.join(names)}" if nodes else f"a graph with {kind}s",
            f"name={name!r}" if nodes else others,
            "Write the name of a node."
            if nodes
            else f"Export the model with its {kind} as one node.",
        )
    return chosen


def name_of(node: Any) -> str:
    """The name of a node, or that of its first output."""
    return str(node.name or next(filter(None, node.output), "lstm"))


_PARTS = {"W": 1, "R": 2, "B": 3, "P": 7}  # where they stand among the inputs
_GATES = {"LSTM": 4, "GRU": 3}


def weights_of_nodes(model: Any, nodes: list[Any]) -> LSTMWeights:
    """The weights of nodes on top of each other."""
    settings = [_settings(node) for node in nodes]
    return LSTMWeights(
        tuple(
            onnx_layer(node_arrays(model, node), **given)
            for node, given in zip(nodes, settings, strict=True)
        )
    )


def node_arrays(model: Any, node: Any) -> dict[str, np.ndarray]:
    """W, R, B and P of a node, those that are there; a GRU has no P.

    Raises:
        ConveyorError: one that the graph computes, or that has other axes.
    """
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for other in model.graph.node:
        for attribute in other.attribute:
            if other.op_type == "Constant" and attribute.name == "value" and other.output:
                constants[other.output[0]] = attribute.t
    arrays = {}
    for part, place in _PARTS.items():
        known = node.input[place] if place < len(node.input) else ""
        if known and place == _PARTS["P"] and node.op_type == "GRU":
            raise lesson(
                f'conveyor.convert: node "{node.name}"',
                "the six inputs of the ONNX operator GRU",
                f"{len(node.input)}",
                "The file is damaged. Export it anew.",
            )
        if known and known not in constants:
            raise lesson(
                f'conveyor.convert: node "{node.name}"',
                f"{part} to be an initializer of the graph",
                f"{known}, which is computed",
                "Fold the graph's constants first.",
            )
        if known:
            arrays[part] = _array_of(constants[known], node)
    units = arrays["R"].shape[-1] if "R" in arrays and arrays["R"].ndim else 0
    count = len(arrays["W"]) if "W" in arrays and arrays["W"].ndim == 3 else 0
    g = _GATES[node.op_type]
    shapes = {"W": (count, g * units, *(arrays["W"].shape[2:] if count else ()))}
    shapes |= {"R": (count, g * units, units), "B": (count, 2 * g * units), "P": (count, 3 * units)}
    if (
        count not in (1, 2)
        or "R" not in arrays
        or any(array.shape != shapes[part] for part, array in arrays.items())
        or len({array.dtype for array in arrays.values()}) > 1
    ):
        raise lesson(
            f'conveyor.convert: node "{node.name}"',
            f"W (directions, {g} * units, features), R (directions, {g} * units, units), "
            f"B (directions, {2 * g} * units)"
            + (" and P (directions, 3 * units) of one type" if g == 4 else " of one type"),
            listed(arrays),
            f"The file is damaged, or not ONNX's operator {node.op_type}. Export it anew.",
        )
    return arrays


def _array_of(tensor: Any, node: Any) -> np.ndarray:
    """An initializer, once it is known to hold the numbers that it claims to."""
    from onnx import TensorProto, numpy_helper

    # The bytes of a number, and the field for those that are not raw.
    kinds = {
        TensorProto.FLOAT: (4, "float_data"),
        TensorProto.DOUBLE: (8, "double_data"),
        TensorProto.FLOAT16: (2, "int32_data"),
        TensorProto.BFLOAT16: (2, "int32_data"),
    }
    size, field = kinds.get(tensor.data_type, (0, "raw_data"))
    raw = tensor.HasField("raw_data")
    held = len(tensor.raw_data) / max(size, 1) if raw else len(getattr(tensor, field))
    dims = list(tensor.dims)
    got = f"{tensor.name} {tuple(dims)} with {held:g} numbers"
    if not size:
        got = f"{tensor.name} of the data type {tensor.data_type}"
    if tensor.data_location == TensorProto.EXTERNAL:
        got = f"{tensor.name} in a file beside it"
    elif size and min(dims, default=1) > 0 and math.prod(dims) == held:
        return np.asarray(numpy_helper.to_array(tensor))
    raise lesson(
        f'conveyor.convert: node "{node.name}"',
        "weights that are there, of 16, 32 or 64 bit floats",
        got,
        "Give the path of the file, which is read with what lies beside it; or export it anew.",
    )


def _settings(node: Any) -> dict[str, Any]:
    """What its attributes say besides the weights, once the others say nothing."""
    from onnx import helper

    given = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    directions = 2 if given.get("direction") == b"bidirectional" else 1
    usual: dict[str, Any] = {
        "activations": [b"Sigmoid", b"Tanh", b"Tanh"] * directions,
        "direction": given.get("direction", b"forward") if directions == 2 else b"forward",
    }
    for attribute, value in usual.items():
        if attribute in given and given[attribute] != value:
            raise lesson(
                f'conveyor.convert: node "{node.name}"',
                "sigmoid and tanh, and steps that are read forward",
                f"{attribute}={given[attribute]!r}",
                "Write conveyor.onnx.load_lstm(path), which gives the node as a layer.",
            )
    settings = {"clip": given.get("clip")}
    return settings | {"coupled": True} if given.get("input_forget", 0) else settings


def onnx_model(weights: LSTMWeights) -> Any:
    """A ModelProto of LSTM nodes, (B, T, F) to (B, T, D * U), batch and time free."""
    onnx_package()
    from onnx import helper, numpy_helper

    arrays = pack(weights, "onnx")
    nodes = []
    for n, layer in enumerate(weights.layers):
        named = {part: f"layers.{n}.{part}" for part in _PARTS}
        node = helper.make_node(
            "LSTM",
            _inputs(f"steps_{n}", {part: name for part, name in named.items() if name in arrays}),
            [f"y_{n}"],
            name=f"lstm_{n}",
            direction="bidirectional" if len(layer) == 2 else "forward",
            hidden_size=layer[0].units,
            **_attributes(layer[0]),
        )
        nodes.append(node)
    return _chain(nodes, [numpy_helper.from_array(a, name) for name, a in arrays.items()], weights)


def _attributes(cell: CellWeights) -> dict[str, Any]:
    """Of its node, besides the usual ones."""
    bound = {} if cell.clip is None else {"clip": cell.clip}
    return bound | ({"input_forget": 1} if cell.coupled else {})


def model_of_nodes(model: Any, given: list[Any], weights: LSTMWeights | GRUWeights) -> Any:
    """Nodes as they are, with nothing between them, so that they can be run."""
    from onnx import NodeProto, numpy_helper

    nodes, constants = [], []
    for n, node in enumerate(given):
        copy = NodeProto()
        copy.CopyFrom(node)
        arrays = node_arrays(model, node)
        del copy.input[:], copy.output[:]
        copy.input.extend(_inputs(f"steps_{n}", {part: f"{part}_{n}" for part in arrays}))
        copy.output.append(f"y_{n}")
        for attribute in [a for a in copy.attribute if a.name == "layout"]:
            copy.attribute.remove(attribute)
        nodes.append(copy)
        constants += [numpy_helper.from_array(a, f"{part}_{n}") for part, a in arrays.items()]
    return _chain(nodes, constants, weights)


def _inputs(x: str, parts: dict[str, str]) -> list[str]:
    inputs = [x, *[""] * 7]
    for part, name in parts.items():
        inputs[_PARTS[part]] = name
    while not inputs[-1]:
        inputs.pop()
    return inputs


def _chain(nodes: list[Any], constants: list[Any], weights: LSTMWeights | GRUWeights) -> Any:
    """A model in which node n reads `steps_n`, (T, B, F), and writes `y_n`, (T, D, B, U)."""
    onnx = onnx_package()
    from onnx import TensorProto, helper, numpy_helper

    kind = TensorProto.DOUBLE if weights.dtype == np.float64 else TensorProto.FLOAT
    every = [helper.make_node("Transpose", ["x"], ["steps_0"], perm=[1, 0, 2])]
    for n, node in enumerate(nodes):
        every += [
            node,
            helper.make_node("Transpose", [f"y_{n}"], [f"apart_{n}"], perm=[0, 2, 1, 3]),
            helper.make_node("Reshape", [f"apart_{n}", "merged"], [f"steps_{n + 1}"]),
        ]
    last = f"steps_{len(nodes)}"
    every.append(helper.make_node("Transpose", [last], ["hidden_states"], perm=[1, 0, 2]))
    size = sum(cell.output_size for cell in weights.layers[-1])
    graph = helper.make_graph(
        every,
        "lstm",
        [helper.make_tensor_value_info("x", kind, ["batch", "time_steps", weights.features])],
        [helper.make_tensor_value_info("hidden_states", kind, ["batch", "time_steps", size])],
        [*constants, numpy_helper.from_array(np.array([0, 0, -1], np.int64), "merged")],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", _OPSET)], producer_name="conveyor"
    )
    model.ir_version = 8  # what goes with this opset, for older runtimes
    onnx.checker.check_model(model)
    return model


def read_onnx(path: Path) -> Any:
    """A ModelProto.

    Raises:
        ConveyorError: a file that is none.
    """
    onnx = onnx_package()
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
    except Exception as error:  # protobuf's DecodeError, the checker's, and others
        reason = str(error).strip().partition("\n")[0]
        raise lesson(
            str(path), "an ONNX model", f"one that is not valid: {reason[:200]}", "Export it anew."
        ) from error
    return model


def run(model: Any, x: np.ndarray) -> np.ndarray | None:
    """What ONNX Runtime computes; None where it is not installed, or lacks the type."""
    try:
        import onnxruntime
    except ModuleNotFoundError:
        return None
    if x.dtype != np.float32:  # its LSTM has no other on CPUs
        return None
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return np.asarray(session.run(None, {session.get_inputs()[0].name: x})[0])
