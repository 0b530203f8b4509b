"""A graph of ONNX in the making."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .._vocabulary import FINAL_STATE_NAMES
from ..convert._onnx import onnx_package

Array = np.ndarray

NEXT = ".next"  # behind the name of a state: as it is after the last step
_BEFORE_FIRST = -(2**63) + 1  # in a slice that goes back


@dataclass(frozen=True)
class Tensor:
    """A value of the graph.

    Attributes:
        name: in the graph.
        shape: None for what is free: the batch, the time steps.
        mask: the name of (B, T) booleans, False where a step does not count; or None.
    """

    name: str
    shape: tuple[int | None, ...]
    mask: str | None = None

    def named(self, name: str, shape: tuple[int | None, ...] | None = None) -> Tensor:
        """Another value with the same mask."""
        return replace(self, name=name, shape=self.shape if shape is None else shape)


def _read_by(nodes: Any) -> set[str]:
    """The names that nodes read, with those in the bodies of loops."""
    read = {name for node in nodes for name in node.input}
    bodies = (attribute.g.node for node in nodes for attribute in node.attribute)
    return read.union(*map(_read_by, bodies))


class Builder:
    """Nodes and constants, each with a name of its own.

    Args:
        opset: of the operators.
        states: whether the states of LSTMs and GRUs are inputs and outputs.
    """

    def __init__(self, opset: int, *, states: bool = False) -> None:
        self.onnx = onnx_package()
        self.opset = opset
        self.states = states
        self.one_length = True  # of all free time axes
        self.first_states: dict[str, Array] = {}  # (1, U), where they are not zeros
        self._next: dict[str, tuple[str, int]] = {}  # by the inputs that they go into next
        self.nodes: list[Any] = []
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []
        self._constants: dict[str, Any] = {}
        self._known: dict[tuple[Any, ...], str] = {}
        self._names: dict[str, int] = {}
        self._states: dict[str, int] = {}

    def name(self, hint: str) -> str:
        """A name that is not taken: the hint, or the hint with a number."""
        count = self._names[hint] = self._names.get(hint, 0) + 1
        return hint if count == 1 else self.name(f"{hint}_{count}")

    def constant(self, array: Any, hint: str = "constant") -> str:
        """An initializer; small ones are shared."""
        array = np.ascontiguousarray(array)
        key = (array.dtype.str, array.shape, array.tobytes()) if array.size < 64 else None
        if key in self._known:
            return self._known[key]
        name = self.name(hint)
        self._constants[name] = self.onnx.numpy_helper.from_array(array, name)
        if key is not None:
            self._known[key] = name
        return name

    def many(
        self, op: str, inputs: list[str], count: int, hint: str, **attributes: Any
    ) -> list[str]:
        """A node of several outputs."""
        outputs = [self.name(f"{hint}_{n}" if count > 1 else hint) for n in range(count)]
        while inputs and not inputs[-1]:
            inputs = inputs[:-1]
        self.nodes.append(
            self.onnx.helper.make_node(op, inputs, outputs, name=self.name(hint), **attributes)
        )
        return outputs

    def __call__(self, op: str, *inputs: str, hint: str | None = None, **attributes: Any) -> str:
        """A node of one output; its name."""
        return self.many(op, list(inputs), 1, hint or op.lower(), **attributes)[0]

    def integers(self, *values: int) -> str:
        """Axes, shapes, bounds."""
        return self.constant(np.array(values, np.int64), "integers")

    def number(self, value: float) -> str:
        """A float32 that is broadcast."""
        return self.constant(np.float32(value), "number")

    def at_end(self, value: str, axis: int, start: int, end: int, step: int = 1) -> str:
        """value[start:end:step] along one axis."""
        bounds = (self.integers(n) for n in (start, end, axis, step))
        return self("Slice", value, *bounds)

    def turned(self, value: str) -> str:
        """The last time step first."""
        return self.at_end(value, 1, -1, _BEFORE_FIRST, -1)

    def add_states(self, path: str, sizes: list[int], first: list[str]) -> tuple[str, ...]:
        """Inputs for the states before the first step: hidden, and of an LSTM cell state.

        In front of their names the path, with a number if taken.

        What a sequence begins with, where it is not zeros, goes into the file's metadata.
        """
        count = self._states[path] = self._states.get(path, 0) + 1
        path = path if count == 1 else f"{path}_{count}"
        names = [
            self.add_input(f"{path}.{name}", (None, size), "float32")
            for name, size in zip(FINAL_STATE_NAMES, sizes, strict=False)
        ]
        for name, constant in zip(names, first, strict=True):
            if constant:
                self.first_states[name] = self.onnx.numpy_helper.to_array(self._constants[constant])
        return path, *names

    def add_next_states(self, path: str, states: dict[str, str], sizes: list[int]) -> None:
        """Outputs for the states after the last step; `model` puts them behind all others."""
        for name, size in zip(FINAL_STATE_NAMES, sizes, strict=False):
            self._next[f"{path}.{name}"] = (states[name], size)

    def add_input(self, name: str, shape: tuple[int | None, ...], dtype: str) -> str:
        """An input of the graph; free axes are called batch and time_steps.

        Axes of one name have one size to a runtime: each of several inputs has its own.
        """
        name = self.name(name)
        self.inputs.append(self._value(name, shape, dtype))
        return name

    def add_output(
        self, value: str, name: str, shape: tuple[int | None, ...], dtype: str = "float32"
    ) -> str:
        """An output of the graph."""
        name = self.name(name)
        self.nodes.append(
            self.onnx.helper.make_node("Identity", [value], [name], name=f"as_{name}")
        )
        self.outputs.append(self._value(name, shape, dtype))
        return name

    def _value(self, name: str, shape: tuple[int | None, ...], dtype: str) -> Any:
        free = ("batch", "time_steps" if self.one_length else f"{name}_time_steps")
        axes = [
            size if size is not None else free[n] if n < 2 else f"{name}_axis_{n}"
            for n, size in enumerate(shape)
        ]
        kind = self.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return self.onnx.helper.make_tensor_value_info(name, kind, axes)

    def model(self, title: str) -> Any:
        """The ModelProto, checked."""
        helper = self.onnx.helper
        for state, (value, size) in self._next.items():
            self.add_output(value, f"{state}{NEXT}", (None, size))
        read = _read_by(self.nodes)
        constants = [tensor for name, tensor in self._constants.items() if name in read]
        graph = helper.make_graph(self.nodes, title, self.inputs, self.outputs, constants)
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", self.opset)], producer_name="conveyor"
        )
        # What goes with this opset, for older runtimes.
        model.ir_version = helper.find_min_ir_version_for(list(model.opset_import))
        first = {name: json.dumps(row[0].tolist()) for name, row in self.first_states.items()}
        helper.set_model_props(model, first)
        self.onnx.checker.check_model(model, full_check=True)
        return model
