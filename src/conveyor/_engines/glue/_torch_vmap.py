"""`torch.func.vmap` of the operators."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch

from .._request import Array
from ._torch_operators import LSTM, Operators, library


def _forward(
    of: Operators, info: Any, in_dims: Sequence[Any], *arguments: Any
) -> tuple[list[Array], list[int]]:
    inputs, weights = of.cell.inputs, of.cell.weights
    mapped = {name for name, dim in zip(inputs, in_dims, strict=False) if dim is not None}
    if mapped & set(weights):
        return one_by_one(of.forward)(info, in_dims, *arguments)
    # The same weights for all: more rows of one batch.
    count, batch = info.batch_size, _rows_of_one(arguments[0], in_dims[0])
    arrays = [
        a if a is None or name in weights else _fold(a, dim, count, name)
        for name, a, dim in zip(inputs, arguments, in_dims, strict=False)
    ]
    states = of.forward(*arrays, *arguments[of.inputs :])
    return [s.unflatten(0, (count, batch)) for s in states], [0] * len(states)


def _rows_of_one(x: Array, dim: int | None) -> int:
    rows: int = (x if dim is None else x.select(dim, 0)).shape[0]
    return rows


def _fold(array: Array, dim: int | None, count: int, name: str) -> Array:
    """(count, B, ...) -> (count * B, ...), also where B is not the first axis."""
    array = array.expand(count, *array.shape) if dim is None else array.movedim(dim, 0)
    per_gate = "dropout" in name and array.ndim == 4  # (count, gates, B, ...)
    return array.movedim(0, 1).flatten(1, 2) if per_gate else array.flatten(0, 1)


def one_by_one(operator: Any) -> Callable[..., tuple[list[Array], list[int]]]:
    """The operator, for each element by itself."""

    def rule(info: Any, in_dims: Sequence[Any], *arguments: Any) -> tuple[list[Array], list[int]]:
        rows = [
            operator(*[_take(a, dim, n) for a, dim in zip(arguments, in_dims, strict=True)])
            for n in range(info.batch_size)
        ]
        stacked = [torch.stack(results) for results in zip(*rows, strict=True)]
        return stacked, [0] * len(stacked)

    return rule


def _take(argument: Any, dim: Any, n: int) -> Any:
    if isinstance(dim, (list, tuple)):
        return [_take(a, d, n) for a, d in zip(argument, dim, strict=True)]
    return argument if dim is None else argument.select(dim, n)


def register(of: Operators) -> None:
    """Those of a cell."""
    torch.library.register_vmap(of.forward, partial(_forward, of), lib=library)
    # What the reserve keeps cannot be cut by rows, and each has gradients of the weights.
    for operator in (of.training, of.backward):
        torch.library.register_vmap(operator, one_by_one(operator), lib=library)


register(LSTM)
