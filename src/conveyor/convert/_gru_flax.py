"""Parameters of flax.linen.GRUCell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .._errors import lesson
from ._gru_layouts import pack_gru, unpack_gru
from ._gru_weights import GRUWeights

_PARTS = {"ir", "iz", "in", "hr", "hz", "hn"}


def is_flax_gru(source: Any) -> bool:
    """Whether this is a tree of parameters with the kernels of a GRU cell somewhere."""
    return isinstance(source, Mapping) and bool(_cells(source))


def _cells(tree: Mapping[Any, Any], path: str = "") -> dict[str, Mapping[str, Any]]:
    if set(tree) >= _PARTS:
        return {path: tree}
    return {
        where: cell
        for key, value in tree.items()
        if isinstance(value, Mapping)
        for where, cell in _cells(value, f"{path}/{key}" if path else str(key)).items()
    }


def gru_cell_of(params: Mapping[str, Any], name: str | None = None) -> Mapping[str, Any]:
    """The one cell in a tree of parameters, or that at `name`, `rnn/cell`."""
    cells = _cells(params)
    if name is None and len(cells) == 1:
        (name,) = cells
    if name is None or name not in cells:
        raise lesson(
            "conveyor.convert",
            f"the name of one GRU cell, of {', '.join(map(repr, cells))}",
            f"name={name!r}",
            f"Write name={next(iter(cells), '')!r}.",
        )
    return cells[name]


def weights_of_gru_cell(cell: Mapping[str, Any]) -> GRUWeights:
    """Its weights."""
    arrays = {
        f"layers.0.forward.{part}.{kind}": np.asarray(array)
        for part, kinds in cell.items()
        if isinstance(kinds, Mapping)
        for kind, array in kinds.items()
    }
    return unpack_gru(arrays, "flax")


def flax_gru_params(weights: GRUWeights) -> dict[str, dict[str, np.ndarray]]:
    """`{"ir": {"kernel": ..., "bias": ...}, ..., "hn": {...}}` of one cell."""
    if len(weights.layers) > 1 or len(weights.layers[0]) > 1:
        raise lesson(
            "conveyor.convert",
            "one GRU in one direction, as a cell of flax is",
            str(weights),
            "Convert them one by one.",
        )
    params: dict[str, dict[str, np.ndarray]] = {}
    for name, array in pack_gru(weights, "flax").items():
        part, kind = name.removeprefix("layers.0.forward.").split(".")
        params.setdefault(part, {})[kind] = array
    return params


def run_gru(params: Mapping[str, Any], x: np.ndarray) -> np.ndarray | None:
    """What flax computes, where it is installed."""
    try:
        from flax import linen
    except ModuleNotFoundError:
        return None
    if x.dtype != np.float32:
        return None
    rnn = linen.RNN(linen.GRUCell(np.shape(params["hn"]["kernel"])[0]))
    return np.asarray(rnn.apply({"params": {"cell": params}}, x))
