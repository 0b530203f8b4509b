"""Several LSTMs in one call of the core: two directions side by side, or the layers of a stack.

Where something looks on (a compiler, a transform of `torch.func`, a mode, a second derivative),
each goes through its own operator: that knows what to do, and the numbers are the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from torch._C import _after_ADInplaceOrView_keyset
from torch.autograd.function import _SingleLevelFunction
from torch.utils._python_dispatch import _len_torch_dispatch_stack

from .. import _descent
from .._library import INPUTS
from .._request import Array, LSTMRequest, States
from ._torch_gradients import _is_plain
from ._torch_native import _PLAIN, _is_traced, arguments, native
from ._torch_operators import LSTM, backward_together, forward_together, kept

_N = len(INPUTS)


def native_together(requests: Sequence[LSTMRequest]) -> list[States]:
    """The states of each of several that do not wait for each other."""
    found = _run(requests, [arguments(request) for request in requests], stack=False)
    return found or cast("list[States]", [native(request) for request in requests])


def native_stack(requests: Sequence[LSTMRequest]) -> list[States]:
    """The states of each of several of which each reads the hidden states of the one before."""
    lowest, *above = (arguments(request) for request in requests)
    found = _run(requests, [lowest, *((None, *each[1:]) for each in above)], stack=True)
    if found:
        return found
    states = [cast(States, native(requests[0]))]
    for request in requests[1:]:
        states.append(cast(States, native(replace(request, x=states[-1]["hidden_states"]))))
    return states


def _run(
    requests: Sequence[LSTMRequest], several: Sequence[tuple[Any, ...]], *, stack: bool
) -> list[States] | None:
    """The states of each; None where each has to be run by itself."""
    if _is_traced():
        return None
    tensors = [t for each in several for t in each[:_N]]
    if len(several) == 1 or not _nobody_looks_on(tensors):
        return None
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors):
        options = [(*each[_N:-1], kept(each[-1])) for each in several]
        flat = iter(_Together.apply(stack, options, *tensors))
        found = [[next(flat) for _ in (*names, "reserve")] for *_, names in options]
    else:
        found = forward_together(several, training=False, stack=stack)
    return [
        dict(zip(request.outputs, states, strict=False))
        for request, states in zip(requests, found, strict=True)
    ]


def _nobody_looks_on(tensors: Iterable[Array | None]) -> bool:
    return (
        torch._C._functorch.peek_interpreter_stack() is None
        and _len_torch_dispatch_stack() == 0
        and all(t is None or (type(t) in _PLAIN and _is_plain(_keys_below(t))) for t in tensors)
    )


def _keys_below(tensor: Array) -> Any:
    return torch._C._dispatch_keys(tensor) & _after_ADInplaceOrView_keyset


class _Together(_SingleLevelFunction):
    """The options of each, and the tensors of all -> the results of `lstm_training` of all."""

    @staticmethod
    def forward(
        ctx: Any, stack: bool, options: list[tuple[Any, ...]], *tensors: Any
    ) -> tuple[Array, ...]:
        several = [(*tensors[n * _N : (n + 1) * _N], *o) for n, o in enumerate(options)]
        results = forward_together(several, training=True, stack=stack)
        hidden_states = [
            states[names.index("hidden_states")]
            for states, (*_, names) in zip(results, options, strict=True)
        ]
        reserves = [states[-1] for states in results]
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(*reserves)
        ctx.save_for_backward(*tensors, *hidden_states, *reserves)
        ctx.stack, ctx.options = stack, options
        return tuple(array for states in results for array in states)

    @staticmethod
    def backward(ctx: Any, *d_results: Array | None) -> tuple[Any, ...]:
        given = _Given(ctx, d_results)
        alone = torch.is_grad_enabled() or not _nobody_looks_on(d_results)
        gradients = _gradients(given, ctx.stack, one_by_one=alone)
        found = [by_name.get(name) for by_name in gradients for name in INPUTS]
        return None, None, *found


class _Given:
    """What `_Together` kept, and the gradients that arrive: what each of `lstm_backward` reads."""

    def __init__(self, ctx: Any, d_results: Sequence[Array | None]) -> None:
        count, saved = len(ctx.options), ctx.saved_tensors
        self.options = ctx.options
        self.tensors = [list(saved[n * _N : (n + 1) * _N]) for n in range(count)]
        self.hidden_states, self.reserves = saved[-2 * count : -count], saved[-count:]
        needs = ctx.needs_input_grad[2:]
        self.wanted = [
            [name for name, its in zip(INPUTS, needs[n * _N :], strict=False) if its]
            for n in range(count)
        ]
        flat = iter(d_results)
        self._d_states = [[next(flat) for _ in (*o[-1], "reserve")][:-1] for o in ctx.options]

    def arriving(self, n: int) -> dict[str, Array]:
        named = zip(self.options[n][-1], self._d_states[n], strict=True)
        return {name: d for name, d in named if d is not None}

    def call(self, layer: _descent.Layer) -> tuple[Any, ...]:
        n = layer.number
        return (
            *self.tensors[n],
            *self.options[n],
            self.hidden_states[n],
            self.reserves[n],
            [layer.arriving.get(name) for name in self.options[n][-1]],
            layer.wanted,
        )


def _gradients(given: _Given, stack: bool, *, one_by_one: bool) -> list[dict[str, Array]]:
    """Those of each, by name."""

    def run(layers: Sequence[_descent.Layer]) -> list[dict[str, Array]]:
        calls = [given.call(each) for each in layers]
        if one_by_one or len(calls) == 1:
            results = [LSTM.backward(*call) for call in calls]
        else:
            results = backward_together(calls, stack=stack)
        return [dict(zip(a.wanted, r, strict=True)) for a, r in zip(layers, results, strict=True)]

    arriving = [given.arriving(n) for n in range(len(given.options))]
    if not stack:
        return _descent.beside(arriving, given.wanted, run)
    for n in range(1, len(arriving)):
        given.tensors[n][0] = given.hidden_states[n - 1]
    return _descent.descend(arriving, given.wanted, run, one_by_one=one_by_one)
