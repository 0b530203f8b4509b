"""Several LSTMs that do not wait for each other, such as two directions, in one call of the core.

Where something looks on (a compiler, a transform of `torch.func`, a mode, a second derivative),
each goes through its own operator: that knows what to do, and the numbers are the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

import torch
from torch._C import _after_ADInplaceOrView_keyset
from torch.autograd.function import _SingleLevelFunction
from torch.utils._python_dispatch import _len_torch_dispatch_stack

from .._library import INPUTS
from .._request import Array, LSTMRequest, States
from ._torch_gradients import _is_plain
from ._torch_native import _PLAIN, _is_traced, arguments, native
from ._torch_operators import LSTM, backward_together, forward_together, kept

_N = len(INPUTS)


def native_together(requests: Sequence[LSTMRequest]) -> list[States]:
    """The states of each."""
    several = [arguments(request) for request in requests]
    tensors = [t for each in several for t in each[:_N]]
    if len(several) == 1 or not _nobody_looks_on(tensors):
        return cast(list[States], [native(request) for request in requests])
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors):
        options = [(*each[_N:-1], kept(each[-1])) for each in several]
        flat = iter(_Together.apply(options, *tensors))
        results = [[next(flat) for _ in (*names, "reserve")] for *_, names in options]
    else:
        results = forward_together(several, training=False)
    return [
        dict(zip(request.outputs, states, strict=False))
        for request, states in zip(requests, results, strict=True)
    ]


def _nobody_looks_on(tensors: Iterable[Array | None]) -> bool:
    return (
        not _is_traced()
        and torch._C._functorch.peek_interpreter_stack() is None
        and _len_torch_dispatch_stack() == 0
        and all(t is None or (type(t) in _PLAIN and _is_plain(_keys_below(t))) for t in tensors)
    )


def _keys_below(tensor: Array) -> Any:
    return torch._C._dispatch_keys(tensor) & _after_ADInplaceOrView_keyset


class _Together(_SingleLevelFunction):
    """The options of each, and the tensors of all -> the results of `lstm_training` of all."""

    @staticmethod
    def forward(ctx: Any, options: list[tuple[Any, ...]], *tensors: Any) -> tuple[Array, ...]:
        several = [(*tensors[n * _N : (n + 1) * _N], *o) for n, o in enumerate(options)]
        results = forward_together(several, training=True)
        hidden_states = [
            states[names.index("hidden_states")]
            for states, (*_, names) in zip(results, options, strict=True)
        ]
        reserves = [states[-1] for states in results]
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(*reserves)
        ctx.save_for_backward(*tensors, *hidden_states, *reserves)
        ctx.options = options
        return tuple(array for states in results for array in states)

    @staticmethod
    def backward(ctx: Any, *d_results: Array | None) -> tuple[Array | None, ...]:
        saved, count = ctx.saved_tensors, len(ctx.options)
        hidden_states, reserves = saved[-2 * count : -count], saved[-count:]
        d_flat = iter(d_results)
        several, needs, reached = [], [], []
        for n, options in enumerate(ctx.options):
            *d_states, _ = [next(d_flat) for _ in (*options[-1], "reserve")]
            need = ctx.needs_input_grad[1 + n * _N : 1 + (n + 1) * _N]
            needs += need
            wanted = [name for name, its in zip(INPUTS, need, strict=True) if its]
            reached.append(bool(wanted) and any(d is not None for d in d_states))
            arrays = saved[n * _N : (n + 1) * _N]
            several.append((*arrays, *options, hidden_states[n], reserves[n], d_states, wanted))
        run = [each for each, its in zip(several, reached, strict=True) if its]
        if len(run) > 1 and not torch.is_grad_enabled() and _nobody_looks_on(d_results):
            gradients = iter(backward_together(run))
        else:
            gradients = (LSTM.backward(*each) for each in run)
        found: list[Array | None] = []
        for n, its in enumerate(reached):
            d_inputs = iter(next(gradients) if its else ())
            found += [next(d_inputs, None) if need else None for need in needs[n * _N :][:_N]]
        return None, *found
