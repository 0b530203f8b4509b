"""A function of tensors, run and timed as PyTorch's users do it: eagerly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

PACKAGES = ("torch",)


def limit_threads(threads: int) -> None:
    torch.set_num_threads(threads)


def array(values: np.ndarray, dtype: str) -> Any:
    tensor = torch.from_numpy(values)
    return tensor.to(getattr(torch, dtype)) if dtype in ("float32", "bfloat16") else tensor


def to_numpy(value: Any) -> np.ndarray:
    values: np.ndarray = value.detach().float().numpy()
    return values


def inference(
    function: Callable[..., Sequence[Any]], x: Any, weights: Sequence[Any]
) -> Callable[[], Sequence[Any]]:
    def run() -> Sequence[Any]:
        with torch.inference_mode():
            return function(x, *weights)

    return run


def training(
    function: Callable[..., Sequence[Any]], x: Any, weights: Sequence[Any], cotangent: Any
) -> Callable[[], tuple[Any, Any]]:
    differentiated = [x, *weights]
    for tensor in differentiated:
        tensor.requires_grad_()

    def run() -> tuple[Any, Any]:
        outputs = function(x, *weights)
        return outputs, torch.autograd.grad(outputs[0], differentiated, cotangent)

    return run


def stateful(layer: Any, rows: Sequence[Any]) -> Callable[[], Any]:
    """The steps of a stateful layer, which keeps its states in variables."""

    def run() -> Any:
        with torch.no_grad():
            layer.reset_state()
            for row in rows:
                h = layer(row)
        return h

    return run
