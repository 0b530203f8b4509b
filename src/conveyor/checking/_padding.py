"""Sequences padded on the right, with a mask, against the same sequences alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from .._errors import ConveyorError
from ..layers._graph import tensors_read
from ._paths import Path
from ._subject import Arrays, Subject

_ALONE = 3  # so many of the batch: some frameworks compile each length anew


def mask_against_unpadded(subject: Subject) -> Path:
    """The model on a batch with padding, and on its sequences alone."""
    padding = _padding_of(subject)
    lengths = _lengths(subject, padding)
    padded, alone = _cut(subject, padding, lengths)
    if isinstance(subject.model, keras.layers.RNN):
        masks = (np.arange(alone[0].shape[1]) < lengths[:, None],)
        run = _with_mask(subject, masks[0])
    else:
        run = subject.runner()
    short = subject.runner()
    count = min(_ALONE, len(lengths))
    ones = [short(_packed(subject, _rows(alone, padding, n, lengths[n]))) for n in range(count)]

    def both() -> Arrays:
        returned = run(_packed(subject, padded))
        return [
            values[n : n + 1, : one.shape[1]] if one.ndim > 1 else values[n : n + 1]
            for n in range(count)
            for values, one in zip(returned, ones[n], strict=True)
        ]

    steps = max(subject.arrays[place].shape[1] for place in padding)
    told = ", ".join(map(str, lengths[:count]))
    note = f"sequences of {told} of {steps} steps"
    return Path(both, [values for one in ones for values in one], lambda: note)


def _with_mask(subject: Subject, mask: np.ndarray) -> Callable[[Any], Arrays]:
    return subject.runner(mask=keras.ops.convert_to_tensor(mask))


def _padding_of(subject: Subject) -> dict[int, float]:
    """What is padding in which of the inputs."""
    model = subject.model
    if isinstance(model, keras.layers.RNN):
        return {0: 0.0}
    layers = model._flatten_layers(include_self=False, recursive=True)
    makers = {
        id(layer): float(getattr(layer, "mask_value", 0)) for layer in layers if _masks(layer)
    }
    if not makers:
        raise ConveyorError("the model makes no mask: no Masking, no Embedding(mask_zero=True)")
    inputs = getattr(model, "inputs", None)
    if not inputs:  # its call is Python
        return {n: next(iter(makers.values())) for n, a in enumerate(subject.arrays) if a.ndim > 1}
    padding = {
        n: value for n, x in enumerate(inputs) if (value := _reached(model, x, makers)) is not None
    }
    for n in padding:
        batch, steps = inputs[n].shape[:2]
        if batch is not None or steps is not None:
            axis = "the batch" if batch is not None else "the time axis"
            size = batch if batch is not None else steps
            raise ConveyorError(
                f"Input fixes {axis} at {size}: a shorter sequence alone does not enter the model"
            )
    return padding


def _masks(layer: Any) -> bool:
    return isinstance(layer, keras.layers.Masking) or (
        isinstance(layer, keras.layers.Embedding) and layer.mask_zero
    )


def _reached(model: Any, x: Any, makers: dict[int, float]) -> float | None:
    """What the first layer that makes a mask takes for padding, on the way from an input."""
    inner = getattr(model, "_functional", None) or model
    reached = {id(x)}
    for depth in sorted(inner._nodes_by_depth, reverse=True):
        for node in inner._nodes_by_depth[depth]:
            read = [n for n, t in enumerate(tensors_read(node)) if id(t) in reached]
            if node.is_input or not read:
                continue
            layer = node.operation
            if id(layer) in makers:
                return makers[id(layer)]
            if getattr(layer, "_functional", None) or hasattr(layer, "_nodes_by_depth"):
                graph = getattr(layer, "_functional", None) or layer
                found = [_reached(graph, graph.inputs[n], makers) for n in read]
                if any(value is not None for value in found):
                    return next(value for value in found if value is not None)
            reached |= {id(tensor) for tensor in node.output_tensors}
    return None


def _lengths(subject: Subject, padding: dict[int, float]) -> np.ndarray:
    """One for each sequence, all shorter than the batch is long."""
    arrays = [subject.arrays[place] for place in padding]
    steps = min(array.shape[1] for array in arrays)
    if steps < 2:
        raise ConveyorError("x has a single time step")
    batch = len(arrays[0])
    spread = np.linspace(steps, 1, batch + 2)[1:-1]
    lengths: np.ndarray = np.clip(spread.round().astype(int), 1, steps - 1)
    return lengths


def _cut(subject: Subject, padding: dict[int, float], lengths: np.ndarray) -> tuple[Arrays, Arrays]:
    """The arrays with padding behind each length, and as they were."""
    padded = [array.copy() for array in subject.arrays]
    for place, value in padding.items():
        array = padded[place]
        array[np.arange(array.shape[1]) >= lengths[:, None]] = value
    return padded, subject.arrays


def _rows(arrays: Arrays, padding: dict[int, float], n: int, length: int) -> Arrays:
    """One sequence alone."""
    return [
        array[n : n + 1, :length] if place in padding else array[n : n + 1]
        for place, array in enumerate(arrays)
    ]


def _packed(subject: Subject, arrays: Arrays) -> Any:
    """As the model is called."""
    by_place = {id(a): b for a, b in zip(subject.arrays, arrays, strict=True)}
    return keras.tree.map_structure(lambda a: by_place[id(a)], subject.x)
