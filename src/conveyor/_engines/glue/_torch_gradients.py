"""The gradients of the operators: the first from the core, the others from the portable engine.

The core has no derivative of its backward pass. Where one is asked for (`create_graph=True`
followed by another backward, `torch.func.hessian`, a gradient penalty) the portable engine
runs the same LSTM again, and autograd differentiates that, as often as is wanted.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch._C import DispatchKey, DispatchKeySet, _after_autograd_keyset, _AutoDispatchBelowAutograd
from torch._functorch.utils import enable_single_level_autograd_function
from torch.autograd.function import _SingleLevelFunction

from .. import _portable
from .._library import DIFFERENTIABLE, INPUTS
from .._options import options as as_options
from .._request import Array, LSTMRequest
from ._torch_operators import (
    backward,
    forward,
    forward_training,
    kept,
    library,
    lstm,
    lstm_backward,
    lstm_training,
)

_N = len(INPUTS)
_KERNEL = DispatchKeySet(DispatchKey.CPU).raw_repr()


class _First(_SingleLevelFunction):
    """What runs, and the arguments of `lstm_training` -> its results."""

    @staticmethod
    def forward(ctx: Any, run: Any, *arguments: Any) -> tuple[Array, ...]:
        *states, reserve = run(*arguments)
        hidden_states = states[arguments[-1].index("hidden_states")]
        ctx.set_materialize_grads(False)  # zeros would be computed with
        ctx.mark_non_differentiable(reserve)
        ctx.save_for_backward(*arguments[:_N], hidden_states, reserve)
        ctx.options = arguments[_N:]
        return *states, reserve

    @staticmethod
    def backward(ctx: Any, *d_results: Array | None) -> tuple[Array | None, ...]:
        needs = ctx.needs_input_grad[1:]
        *arrays, hidden_states, reserve = ctx.saved_tensors
        wanted = [name for name, need in zip(INPUTS, needs, strict=False) if need]
        d_inputs = iter(
            lstm_backward(*arrays, *ctx.options, hidden_states, reserve, d_results[:-1], wanted)
        )
        return None, *[next(d_inputs) if need else None for need in needs]


class _Second(_SingleLevelFunction):
    """What runs, the arguments of `lstm_backward` that need no gradient, and the rest."""

    @staticmethod
    def forward(
        ctx: Any,
        run: Any,
        options: list[Any],
        hidden_states: Array,
        reserve: Array,
        wanted: list[str],
        *tensors: Array | None,
    ) -> tuple[Array, ...]:
        arrays, d_states = tensors[:_N], tensors[_N:]
        d_inputs = run(*arrays, *options, hidden_states, reserve, d_states, wanted)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors)
        ctx.options, ctx.wanted = options, wanted
        return tuple(d_inputs)

    @staticmethod
    def backward(ctx: Any, *dd_inputs: Array | None) -> tuple[Array | None, ...]:
        tensors = ctx.saved_tensors
        arrays = dict(zip(INPUTS, tensors, strict=False))
        d_states = tensors[_N:]
        arriving = [n for n, d in enumerate(d_states) if d is not None]
        *options, names = ctx.options
        # Every float goes in as an argument: its gradient may be asked for.
        floats = [n for n, a in arrays.items() if a is not None and n in DIFFERENTIABLE]

        def states(*given: Array) -> tuple[Array, ...]:
            inputs = {**arrays, **dict(zip(floats, given, strict=True))}
            return _portable_states(inputs, options, [names[n] for n in arriving])

        def gradients(given: tuple[Array, ...], d: tuple[Array, ...]) -> tuple[Array, ...]:
            _, pull = torch.func.vjp(states, *given)
            d_given = dict(zip(floats, pull(d), strict=True))
            return tuple(d_given[name] for name in ctx.wanted)

        d_given, pull = torch.func.vjp(
            gradients, tuple(arrays[n] for n in floats), tuple(d_states[n] for n in arriving)
        )
        cotangents = tuple(
            torch.zeros_like(d) if dd is None else dd
            for d, dd in zip(d_given, dd_inputs, strict=True)
        )
        dd_given, dd_states = pull(cotangents)
        by_name = dict(zip(floats, dd_given, strict=True))
        by_position = dict(zip(arriving, dd_states, strict=True))
        return (
            *(None,) * 5,
            *(by_name.get(name) for name in INPUTS),
            *(by_position.get(n) for n in range(len(d_states))),
        )


def _portable_states(
    inputs: dict[str, Any], options: list[Any], names: list[Any]
) -> tuple[Array, ...]:
    (text,) = options
    request = LSTMRequest(
        **inputs,
        **as_options(text).of_request(),
        unroll=False,
        outputs=tuple(names),
    )
    states = _portable.run(request)
    return tuple(states[name] for name in names)


def _lstm(keys: Any, *arguments: Any) -> list[Array]:
    if _want_gradient(arguments[:_N]):
        *rest, names = arguments
        return _lstm_training(keys, *rest, kept(names))[: len(names)]
    below = keys & _after_autograd_keyset
    return forward(*arguments) if _is_plain(below) else _redispatch(lstm, below, arguments)


def _lstm_training(keys: Any, *arguments: Any) -> list[Array]:
    below = keys & _after_autograd_keyset
    plain = _is_plain(below)
    if _want_gradient(arguments[:_N]):
        return _record(_First, plain, forward_training if plain else _training_below, *arguments)
    return forward_training(*arguments) if plain else _redispatch(lstm_training, below, arguments)


def _lstm_backward(keys: Any, *arguments: Any) -> list[Array]:
    below = keys & _after_autograd_keyset
    plain = _is_plain(below)
    *first, hidden_states, reserve, d_states, wanted = arguments
    arrays, options = first[:_N], first[_N:]
    if _want_gradient((*arrays, *d_states)):
        given = (backward if plain else _backward_below, options, hidden_states, reserve, wanted)
        return _record(_Second, plain, *given, *arrays, *d_states)
    return backward(*arguments) if plain else _redispatch(lstm_backward, below, arguments)


def _want_gradient(tensors: Iterable[Array | None]) -> bool:
    return torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)


def _is_plain(below: Any) -> bool:
    """Whether the dispatcher would go to the kernel now: no transform, no mode, no view."""
    keys: int = below.raw_repr()
    return bool(keys == _KERNEL)


def _redispatch(operator: Any, below: Any, arguments: Any) -> list[Array]:
    with _AutoDispatchBelowAutograd():
        results: list[Array] = operator.redispatch(below, *arguments)
    return results


def _record(function: Any, plain: bool, *arguments: Any) -> list[Array]:
    if plain:
        return list(function.apply(*arguments))
    # Each level of torch.func comes here by itself, so the function is one of a single level.
    with enable_single_level_autograd_function():
        return list(function.apply(*arguments))


def _level_below(operator: Any) -> Any:
    def run(*arguments: Any) -> Any:
        # A function's forward runs without gradients; the level below may want its own.
        with torch.enable_grad(), _AutoDispatchBelowAutograd():
            return operator(*arguments)

    return run


_training_below, _backward_below = _level_below(lstm_training), _level_below(lstm_backward)
library.impl("lstm", _lstm, "Autograd", with_keyset=True)
library.impl("lstm_training", _lstm_training, "Autograd", with_keyset=True)
library.impl("lstm_backward", _lstm_backward, "Autograd", with_keyset=True)
