"""`torch.func.vmap` of the operators."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from .._library import INPUTS, WEIGHTS
from .._request import Array
from ._torch_operators import library, lstm, lstm_backward, lstm_training

_N = len(INPUTS)
_WEIGHTS = set(WEIGHTS)


def _lstm(info: Any, in_dims: Sequence[Any], *arguments: Any) -> tuple[list[Array], list[int]]:
    mapped = {name for name, dim in zip(INPUTS, in_dims, strict=False) if dim is not None}
    if mapped & _WEIGHTS:
        return one_by_one(lstm)(info, in_dims, *arguments)
    # The same weights for all: more rows of one batch.
    count, batch = info.batch_size, _rows_of_one(arguments[0], in_dims[0])
    arrays = [
        a if a is None or name in _WEIGHTS else _fold(a, dim, count, name)
        for name, a, dim in zip(INPUTS, arguments, in_dims, strict=False)
    ]
    states = lstm(*arrays, *arguments[_N:])
    return [s.unflatten(0, (count, batch)) for s in states], [0] * len(states)


def _rows_of_one(x: Array, dim: int | None) -> int:
    rows: int = (x if dim is None else x.select(dim, 0)).shape[0]
    return rows


def _fold(array: Array, dim: int | None, count: int, name: str) -> Array:
    """(count, B, ...) -> (count * B, ...), also where B is not the first axis."""
    array = array.expand(count, *array.shape) if dim is None else array.movedim(dim, 0)
    per_gate = "dropout" in name and array.ndim == 4  # (count, 4, B, ...)
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


torch.library.register_vmap("conveyor::lstm", _lstm, lib=library)
# What the reserve keeps cannot be cut by rows, and each has gradients of the weights.
for _operator in (lstm_training, lstm_backward):
    torch.library.register_vmap(_operator, one_by_one(_operator), lib=library)
