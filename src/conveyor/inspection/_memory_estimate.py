"""How much memory a model will take, before it runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import keras
from rich.console import Group, RenderableType
from rich.table import Table

from .._errors import lesson
from ..layers._find import find_recurrent_parts, parts_of
from ..layers._graph import graph_of, needed_nodes
from ..layers._stack_call import shapes
from ._memory_kept import bytes_of, kept_by
from ._printed import Printed

_WHERE = "conveyor.memory_estimate"


@dataclass(frozen=True)
class Need:
    """One thing that takes memory, in bytes.

    Attributes:
        what: the weights, or the path of a layer and what it is.
        training: bytes that are held from the forward pass to the backward pass, or always.
        inference: bytes that a forward pass alone takes.
    """

    what: str
    training: int
    inference: int


@dataclass(frozen=True)
class MemoryEstimate(Printed):
    """What `memory_estimate` gives; `print` shows it as a table.

    Attributes:
        batch, time_steps: that it is for.
        needs: what takes memory, layer by layer.
        at_least: the layers that may take more: their loop is not that of the native engine.
    """

    batch: int
    time_steps: int
    needs: tuple[Need, ...]
    at_least: tuple[str, ...]

    @property
    def training(self) -> int:
        """Bytes for a step of `fit`: all that is held, and the gradients on the way."""
        return sum(need.training for need in self.needs)

    @property
    def inference(self) -> int:
        """Bytes for a batch of `predict`."""
        return sum(need.inference for need in self.needs)

    def __rich__(self) -> RenderableType:
        title = f"batch {self.batch:,}, {self.time_steps:,} time steps"
        table = Table(title=title, title_justify="left", title_style="bold")
        for n, head in enumerate(("", "training", "inference")):
            table.add_column(head, justify="right" if n else "left")
        for need in self.needs:
            table.add_row(need.what, _shown(need.training), _shown(need.inference))
        table.add_section()
        table.add_row("together", _shown(self.training), _shown(self.inference))
        notes = [f"{path}: at least; its loop may keep more" for path in self.at_least]
        return Group(table, *notes)


def memory_estimate(model: Any, batch: int, time_steps: int) -> MemoryEstimate:
    """How much memory training and prediction of a model will take, from shapes alone.

    What is counted: weights, their gradients and what the optimizer keeps (Adam's two arrays where
    the model is not compiled); what each layer returns; what each LSTM keeps for its gradient, the
    four gates, cell state and hidden state of each step, or with `remat=` of as many; likewise each
    GRU and each cell of a stack, Keras's too; and the gradients on their way through the largest
    layer. Not counted: Python and the framework themselves (some hundred MB), the data set, and
    what the framework's allocator holds in reserve.

    Args:
        model: Sequential or functional, or an LSTM or a GRU, with its weights.
        batch: sequences a step.
        time_steps: of each sequence, where the model leaves that open.

    Returns:
        A table of bytes, with `.training` and `.inference` as totals.

    Raises:
        ConveyorError: a model that cannot be looked into; sizes that are no whole numbers.

    >>> import keras
    >>> from conveyor import LSTM
    >>> model = keras.Sequential([keras.Input((None, 64)), LSTM(128), keras.layers.Dense(1)])
    >>> whole = memory_estimate(model, batch=1, time_steps=100_000)
    >>> model = keras.Sequential([keras.Input((None, 64)), LSTM(128, remat=300), *model.layers[1:]])
    >>> kept = memory_estimate(model, batch=1, time_steps=100_000)
    >>> round(whole.training / 2**20), round(kept.training / 2**20)
    (368, 100)
    """
    for name, value in (("batch", batch), ("time_steps", time_steps)):
        if not isinstance(value, Integral) or isinstance(value, bool) or int(value) < 1:
            raise lesson(
                _WHERE,
                f"{name} to be a whole number, at least 1",
                repr(value) if isinstance(value, str | int | float) else type(value).__name__,
                f"Write {_WHERE}(model, batch=32, time_steps=1000).",
            )
    batch, time_steps = int(batch), int(time_steps)
    graph = graph_of(model, _WHERE)
    paths = {id(item.layer): item.path for item in find_recurrent_parts(graph)}
    returned = list(_returned(graph, batch, time_steps, ""))
    needs = [_weights(model), *(need for need, _, _ in returned)]
    at_least = []
    for _, layer, shape in returned:
        needs += _between(layer, *shape)
        for cell_layer in _recurrent(layer):
            path = paths.get(id(cell_layer), str(cell_layer.name))
            every = list(kept_by(cell_layer, *shape[:2]))
            if every:
                kept = sum(size for size, _ in every)
                needs.append(Need(f"{path}: kept for its gradient", kept, 0))
            if not every or not all(exact for _, exact in every):
                at_least.append(path)
    moving = max((need.training for need, _, _ in returned), default=0)
    needs.append(Need("gradients on their way", 2 * moving, 0))
    return MemoryEstimate(batch, time_steps, tuple(needs), tuple(dict.fromkeys(at_least)))


def _weights(model: Any) -> Need:
    weights = sum(bytes_of(w.shape, w.dtype) for w in model.weights)
    learned = sum(bytes_of(w.shape, w.dtype) for w in model.trainable_weights)
    optimizer = getattr(model, "optimizer", None)
    if optimizer is not None and optimizer.built:
        slots = sum(bytes_of(v.shape, v.dtype) for v in optimizer.variables)
    else:
        slots = 2 * learned
    return Need("weights, gradients, optimizer", weights + learned + slots, weights)


def _returned(
    graph: Any, batch: int, time_steps: int, path: str
) -> Iterator[tuple[Need, Any, tuple[int, int, int]]]:
    """What each operation returns, the operation, and (B, T, F) of what it reads."""
    needed = needed_nodes(graph)
    for depth in sorted(graph._nodes_by_depth, reverse=True):
        for node in graph._nodes_by_depth[depth]:
            operation = node.operation
            if id(node) not in needed and not node.is_input:
                continue
            name = f"{path}/{operation.name}" if path else str(operation.name)
            inner = getattr(operation, "_functional", None) or operation
            if hasattr(inner, "_nodes_by_depth"):
                # What it is called with may be known better than what it was built for.
                given = _filled(node.input_tensors[0].shape, batch, time_steps)
                yield from _returned(inner, batch, (*given, time_steps)[1], name)
                continue
            size = sum(
                bytes_of(_filled(t.shape, batch, time_steps), t.dtype) for t in node.output_tensors
            )
            read = node.input_tensors[0].shape if node.input_tensors else (None, None, None)
            rows, steps, features = _filled((*read, None, None, None)[:3], batch, time_steps)
            yield Need(f"{name}: returned", size, size), operation, (rows, steps, features)


def _filled(shape: Any, batch: int, time_steps: int) -> tuple[int, ...]:
    return tuple(
        (time_steps if n else batch) if size is None else int(size) for n, size in enumerate(shape)
    )


def _recurrent(layer: Any) -> list[Any]:
    if not isinstance(layer, keras.Layer):
        return []
    return [item.layer for item in find_recurrent_parts(layer)]


def _between(layer: Any, batch: int, time_steps: int, features: int) -> Iterator[Need]:
    """What the layers of a stack hand on to each other."""
    if not parts_of(layer):
        return
    dtype = str(layer.compute_dtype)
    for n, shape in enumerate(shapes(layer, (batch, time_steps, features))[1:-1]):
        size = bytes_of(shape, dtype)
        yield Need(f"{layer.name}/layer_{n}: handed on", size, size)


def _shown(size: int) -> str:
    for unit, power in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if size >= 1 << power:
            return f"{size / (1 << power):,.1f} {unit}"
    return f"{size} B"
