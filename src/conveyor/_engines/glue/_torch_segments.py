"""PyTorch: a loop over segments whose gradient runs each of them again.

`torch.utils.checkpoint` would run them with gradients the first time, too: what the native engine
keeps for these would be written for nothing, and its memory come back in pieces.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd.function import once_differentiable

from .._request import Array


class _Again(torch.autograd.Function):
    """What runs, how many arrays are shared and how many carried, and the arrays."""

    @staticmethod
    def forward(ctx: Any, segment: Any, shared: int, carried: int, *arrays: Array) -> Any:
        ctx.run = segment, shared, carried
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*arrays)
        return _run(segment, shared, carried, arrays)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *d_results: Array | None) -> Any:
        segment, shared, carried = ctx.run
        needed = ctx.needs_input_grad[3:]
        arrays = [
            a.detach().requires_grad_(need)
            for a, need in zip(ctx.saved_tensors, needed, strict=True)
        ]
        with torch.enable_grad():
            results = _run(segment, shared, carried, arrays)
        pairs = [(r, d) for r, d in zip(results, d_results, strict=True) if d is not None]
        moving = [a for a, need in zip(arrays, needed, strict=True) if need]
        gradients = iter(
            torch.autograd.grad(
                [r for r, _ in pairs], moving, [d for _, d in pairs], allow_unused=True
            )
        )
        return None, None, None, *(next(gradients) if need else None for need in needed)


def _run(segment: Any, shared: int, carried: int, arrays: Any) -> tuple[Array, ...]:
    end = shared + carried
    carry, rows = segment(arrays[:shared], arrays[shared:end], arrays[end:])
    return (*carry, *rows)


def in_segments(segment: Any, shared: Any, carry: Any, steps: tuple[Array, ...]) -> Any:
    # Transforms of torch.func look into a loop, not into a function of autograd's.
    transformed = torch._C._functorch.peek_interpreter_stack() is not None
    rows: list[tuple[Array, ...]] = []
    for one_of_each in zip(*(a.unbind(0) for a in steps), strict=True):
        arrays = (*shared, *carry, *one_of_each)
        results = (
            _run(segment, len(shared), len(carry), arrays)
            if transformed
            else _Again.apply(segment, len(shared), len(carry), *arrays)
        )
        carry = results[: len(carry)]
        rows.append(results[len(carry) :])
    return carry, tuple(map(torch.stack, zip(*rows, strict=True)))
