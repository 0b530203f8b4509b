"""Finds every LSTM and GRU in a layer or a model: its path, its direction, the shape it is fed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import keras

from ._stack_call import shapes as shapes_read

# Keras ships no types: here a layer is Any, and what is read from it is checked.
Layer: TypeAlias = Any
Shape: TypeAlias = tuple[int | None, ...]
Direction: TypeAlias = Literal["forward", "backward"]


@dataclass(frozen=True)
class FoundLSTM:
    """One LSTM layer, or another recurrent one, and where it stands.

    Attributes:
        layer: the layer itself.
        path: the names from below the root down to the layer, `decoder/forward_lstm`.
        direction: which way it reads the time steps.
        merge_mode: how Bidirectional joins this direction with the other one:
            Keras's own word, `"list"` for its `None`, and `None` outside of a Bidirectional.
        input_shape: (B, T, F) where the caller's `input_shape` reaches this layer, else `None`.
        stack: the `conveyor.LSTM` of several layers or directions that it is a part of, or `None`.
    """

    layer: Layer
    path: str
    direction: Direction
    merge_mode: str | None = None
    input_shape: Shape | None = None
    stack: Layer | None = None

    @property
    def is_below_the_top(self) -> bool:
        """Whether what it returns is read inside of the stack alone."""
        return self.stack is not None and all(self.layer is not x for x in self.stack.parts[-1])


def is_lstm(layer: Layer) -> bool:
    """Whether this layer runs one LSTM cell over time, by Keras's class or by ours."""
    cell: Layer = getattr(layer, "cell", None)
    one = isinstance(layer, keras.layers.RNN) and isinstance(cell, keras.layers.LSTMCell)
    return one and not parts_of(layer)


def is_gru(layer: Layer) -> bool:
    """Whether this layer runs one GRU cell over time, by Keras's class or by ours."""
    cell: Layer = getattr(layer, "cell", None)
    return isinstance(layer, keras.layers.RNN) and isinstance(cell, keras.layers.GRUCell)


def is_lstm_or_gru(layer: Layer) -> bool:
    """Whether this layer runs one cell of either kind over time."""
    return is_lstm(layer) or is_gru(layer)


def parts_of(layer: Layer) -> list[Layer]:
    """The LSTMs of a `conveyor.LSTM` with several layers or directions; none of any other."""
    parts = getattr(layer, "parts", None)
    return parts.flat() if isinstance(layer, keras.layers.RNN) and parts else []


def accepts_input_shape(layer: Layer) -> bool:
    """Whether shapes can be followed through this layer without building anything in it."""
    several = isinstance(layer, keras.layers.Bidirectional | keras.Sequential)
    return is_lstm_or_gru(layer) or bool(parts_of(layer)) or several


def find_lstms(root: Layer, input_shape: Shape | None = None) -> tuple[FoundLSTM, ...]:
    """Every LSTM in `root`, each once, in the order in which Keras lists the layers.

    Args:
        root: an LSTM, or anything that holds some: Sequential, functional and subclassed models,
            wrappers and composite layers, nested as deep as they are.
        input_shape: what enters `root`, batch included. It is handed down as far as
            `accepts_input_shape` allows. Nothing is built or changed.
    """
    return _find(root, is_lstm, input_shape)


def find_lstms_and_grus(root: Layer, input_shape: Shape | None = None) -> tuple[FoundLSTM, ...]:
    """Every LSTM and every GRU in `root`, in the same way."""
    return _find(root, is_lstm_or_gru, input_shape)


def find_recurrent(root: Layer) -> tuple[FoundLSTM, ...]:
    """Every recurrent layer in `root`, LSTM or not, in the same way."""
    return _find(root, lambda layer: isinstance(layer, keras.layers.RNN))


def find_recurrent_parts(root: Layer) -> tuple[FoundLSTM, ...]:
    """The same, and in place of a layer of several LSTMs these."""
    return _find(root, lambda layer: isinstance(layer, keras.layers.RNN) and not parts_of(layer))


Wanted: TypeAlias = Callable[[Layer], bool]


def _find(root: Layer, wanted: Wanted, input_shape: Shape | None = None) -> tuple[FoundLSTM, ...]:
    found: list[FoundLSTM] = []
    paths: dict[str, int] = {}
    path = root.name if wanted(root) or parts_of(root) else ""
    for item in _walk(root, path, input_shape, set(), wanted):
        # Keras lets siblings in a list share a name; the paths stay apart all the same.
        count = paths[item.path] = paths.get(item.path, 0) + 1
        found.append(item if count == 1 else replace(item, path=f"{item.path} ({count})"))
    return tuple(found)


def _walk(
    layer: Layer, path: str, shape: Shape | None, seen: set[int], wanted: Wanted
) -> Iterator[FoundLSTM]:
    if id(layer) in seen:  # a shared layer has one set of weights: described once
        return
    seen.add(id(layer))
    if wanted(layer):
        direction: Direction = "backward" if layer.go_backwards else "forward"
        yield FoundLSTM(layer, path, direction, input_shape=shape)
        return
    bidirectional = isinstance(layer, keras.layers.Bidirectional)
    for child, child_shape in _children(layer, shape):
        child_path = f"{path}/{child.name}" if path else str(child.name)
        for item in _walk(child, child_path, child_shape, seen, wanted):
            if parts_of(layer):
                yield _in_stack(replace(item, stack=layer))
            elif bidirectional:
                yield replace(item, merge_mode=layer.merge_mode or "list")
            else:
                yield item


def _in_stack(part: FoundLSTM) -> FoundLSTM:
    stack: Layer = part.stack
    if not stack.bidirectional:
        return part
    merge_mode = stack.merge_mode or ("concat" if part.is_below_the_top else "list")
    return replace(part, merge_mode=merge_mode)


def _children(layer: Layer, shape: Shape | None) -> Iterator[tuple[Layer, Shape | None]]:
    """The layers directly inside, each with the shape that enters it where that is known."""
    if isinstance(layer, keras.layers.Bidirectional):
        wrapper: Layer = layer
        yield wrapper.forward_layer, shape
        yield wrapper.backward_layer, shape
    elif parts_of(layer):
        read = [None] * len(layer.parts) if shape is None else shapes_read(layer, shape)
        for row, row_shape in zip(layer.parts, read, strict=False):
            yield from ((part, row_shape) for part in row)
    elif isinstance(layer, keras.Sequential) and shape is not None:
        model: Layer = layer
        layers = _up_to_last_one(model.layers)
        for child in layers:
            yield child, shape
            if child is not layers[-1]:
                shape = tuple(child.compute_output_shape(shape))
    else:
        # What `Model.layers` is made of, for every layer: Keras has no public name for it.
        for child in layer._flatten_layers(include_self=False, recursive=False):
            yield child, None


def _up_to_last_one(layers: list[Layer]) -> list[Layer]:
    """The layers whose shapes matter here: those behind the last of ours may be of any kind."""
    holding = [place for place, layer in enumerate(layers) if find_lstms_and_grus(layer)]
    return layers[: holding[-1] + 1] if holding else []
