"""Parameters of flax.linen.LSTMCell and OptimizedLSTMCell, which have the same names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .._errors import lesson
from ._layouts import pack, unpack
from ._weights import LSTMWeights


def is_flax(source: Any) -> bool:
    """Whether this is a tree of parameters with the kernels of an LSTM cell somewhere."""
    return isinstance(source, Mapping) and bool(_cells(source))


def _cells(tree: Mapping[Any, Any], path: str = "") -> dict[str, Mapping[str, Any]]:
    if {"ii", "hi", "if", "hf"} <= set(tree):
        return {path: tree}
    return {
        where: cell
        for key, value in tree.items()
        if isinstance(value, Mapping)
        for where, cell in _cells(value, f"{path}/{key}" if path else str(key)).items()
    }


def cell_of(params: Mapping[str, Any], name: str | None = None) -> Mapping[str, Any]:
    """The one cell in a tree of parameters, or that at `name`, `rnn/cell`."""
    cells = _cells(params)
    if name is None and len(cells) == 1:
        (name,) = cells
    if name is None or name not in cells:
        raise lesson(
            "conveyor.convert",
            f"the name of one LSTM cell, of {', '.join(map(repr, cells))}",
            f"name={name!r}",
            f"Write name={next(iter(cells), '')!r}.",
        )
    return cells[name]


def weights_of_cell(cell: Mapping[str, Any]) -> LSTMWeights:
    """Its weights."""
    arrays = {
        f"layers.0.forward.{part}.{kind}": np.asarray(array)
        for part, kinds in cell.items()
        if isinstance(kinds, Mapping)
        for kind, array in kinds.items()
    }
    return unpack(arrays, "flax")


def flax_params(weights: LSTMWeights) -> dict[str, dict[str, np.ndarray]]:
    """`{"ii": {"kernel": ...}, ..., "hi": {"kernel": ..., "bias": ...}, ...}` of one cell."""
    if len(weights.layers) > 1 or len(weights.layers[0]) > 1:
        raise lesson(
            "conveyor.convert",
            "one LSTM in one direction, as a cell of flax is",
            str(weights),
            'Convert them one by one, or write save(weights, "w.safetensors", layout="flax").',
        )
    params: dict[str, dict[str, np.ndarray]] = {}
    for name, array in pack(weights, "flax").items():
        part, kind = name.removeprefix("layers.0.forward.").split(".")
        params.setdefault(part, {})[kind] = array
    return params


def run(params: Mapping[str, Any], x: np.ndarray) -> np.ndarray | None:
    """What flax computes, where it is installed."""
    try:
        from flax import linen
    except ModuleNotFoundError:
        return None
    if x.dtype != np.float32:
        return None
    units = np.shape(params["hi"]["kernel"])[0]
    rnn = linen.RNN(linen.OptimizedLSTMCell(units))
    return np.asarray(rnn.apply({"params": {"cell": params}}, x))
