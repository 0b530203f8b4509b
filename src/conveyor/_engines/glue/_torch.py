"""PyTorch: a Python loop, which autograd, torch.func and torch.compile all read."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import keras
import numpy as np
import torch

from ..._errors import ConveyorError
from .._request import Activation, Array, LSTMRequest, Run, States
from . import _state_variable
from ._torch_linear import native_cross_entropy as native_cross_entropy
from ._torch_linear import native_top_k as native_top_k
from ._torch_native import native as native
from ._torch_native import why_not_native as why_not_native
from ._torch_optimizers import in_one_pass as in_one_pass
from ._torch_segments import in_segments as in_segments
from ._torch_together import native_stack as native_stack
from ._torch_together import native_together as native_together


def scan(step: Any, carry: Any, steps: tuple[Array, ...], *, kept: int, unroll: bool) -> Any:
    rows: list[tuple[Array, ...]] = []
    # unbind makes all views at once, and its gradient is one stack instead of T additions.
    for one_of_each in zip(*(a.unbind(0) for a in steps), strict=True):
        carry, row = step(carry, one_of_each)
        rows.append(row)
    return carry, tuple(torch.stack([row[k] for row in rows]) for k in range(kept))


def compiled(run: Run, request: LSTMRequest) -> States:
    return run(request)


def empty(x: Array, width: int) -> Array:
    return x.new_empty((*x.shape[:2], width))


class _Once(torch.autograd.Function):
    """A gradient, and the arrays that it is of: differentiated again it would not be zero."""

    generate_vmap_rule = True

    @staticmethod
    def forward(gradient: Array, *arrays: Array) -> Array:
        return gradient.view_as(gradient)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Array) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *_: Any) -> None:
        raise ConveyorError(
            "conveyor.ops.linear_cross_entropy has first derivatives only on PyTorch; a second was "
            "asked for.\nWrite torch.nn.functional.cross_entropy(features @ kernel.T + bias, "
            "labels) where the gradient is differentiated again."
        )


class _Sum(torch.autograd.Function):
    """`run`, the labels and the arrays -> the number, other results, the gradients."""

    generate_vmap_rule = True

    @staticmethod
    def forward(run: Any, labels: Array, *arrays: Array) -> tuple[Array, ...]:
        value, rest, gradients = run(arrays, labels, True)
        return value, *rest, *gradients

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, outputs: tuple[Array, ...]) -> None:
        arrays = inputs[2:]
        ctx.mark_non_differentiable(*outputs[1:])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*arrays, *outputs[-len(arrays) :])

    @staticmethod
    def backward(ctx: Any, d_value: Array | None, *_: Any) -> tuple[Array | None, ...]:
        count = len(ctx.saved_tensors) // 2
        if d_value is None:
            return (None,) * (2 + count)
        arrays, gradients = ctx.saved_tensors[:count], ctx.saved_tensors[count:]
        needs = ctx.needs_input_grad[2:]
        return (
            None,
            None,
            *[
                _Once.apply(g * d_value.to(g.dtype), *arrays) if need else None
                for g, need in zip(gradients, needs, strict=True)
            ],
        )


def sum_with_gradients(run: Any, arrays: Sequence[Array], labels: Array) -> tuple[Array, Any]:
    if torch.is_grad_enabled() and any(a.requires_grad for a in arrays):
        value, *rest = _Sum.apply(run, labels, *arrays)
        return value, tuple(rest[: len(rest) - len(arrays)])
    value, rest, _ = run(arrays, labels, False)
    return value, rest


def threads() -> int:
    number: int = torch.get_num_threads()
    return number


def own(array: Array) -> bool:
    return type(array) in _PLAIN and not torch.compiler.is_compiling()


_PLAIN = (torch.Tensor, torch.nn.Parameter)


def concrete(array: Array) -> np.ndarray | None:
    functorch = torch._C._functorch
    if torch.compiler.is_compiling() or functorch.is_functorch_wrapped_tensor(array):
        return None
    if functorch.peek_interpreter_stack() is not None:
        return None  # detach() would wrap it
    values: np.ndarray = array.detach().cpu().numpy()
    return values


def require(condition: Array, message: str, value: Array) -> Array:
    return value  # shapes are known while this framework traces: the caller has looked


def exact(activation: Activation) -> Activation:
    # The gradient of torch's own hard sigmoid is a float32 sixth, in float64 too.
    return _hard_sigmoid if activation is keras.activations.hard_sigmoid else activation


def _hard_sigmoid(x: Array) -> Array:
    return torch.clamp(x + 3, 0, 6) / 6


def float64() -> AbstractContextManager[None]:
    return nullcontext()


class StateVariable(_state_variable.StateVariable):
    def _direct_assign(self, value: Array) -> None:
        # A new tensor, not a copy into the old one: autograd may still need that one.
        self._value.data = value.detach().clone()


def compile_function(function: Any, variables: Sequence[Any]) -> Any:
    return torch.no_grad()(function)


def without_gradients() -> AbstractContextManager[None]:
    return cast(AbstractContextManager[None], torch.no_grad())


def gradients(function: Any, arrays: Sequence[np.ndarray]) -> tuple[Array, list[Array]]:
    tensors = [torch.from_numpy(array).requires_grad_() for array in arrays]
    with torch.enable_grad():
        value = function(*tensors)
        grads = torch.autograd.grad(value, tensors, allow_unused=True, materialize_grads=True)
    return value.detach(), list(grads)
