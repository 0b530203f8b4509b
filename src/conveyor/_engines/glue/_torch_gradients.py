"""The gradients of the operators: the first from the core, the others from the portable engine.

The core has no derivative of its backward pass. Where one is asked for (`create_graph=True`
followed by another backward, `torch.func.hessian`, a gradient penalty) the portable engine
runs the same cell again, and autograd differentiates that, as often as is wanted.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import torch
from torch._C import DispatchKey, DispatchKeySet, _after_autograd_keyset, _AutoDispatchBelowAutograd
from torch._functorch.utils import enable_single_level_autograd_function
from torch.autograd.function import _SingleLevelFunction

from .._request import Array
from ._torch_operators import (
    LSTM,
    Operators,
    backward,
    forward,
    forward_training,
    kept,
    library,
)

_KERNEL = DispatchKeySet(DispatchKey.CPU).raw_repr()


class _First(_SingleLevelFunction):
    """The operators, what runs, and the arguments of `training` -> its results."""

    @staticmethod
    def forward(ctx: Any, of: Operators, run: Any, *arguments: Any) -> tuple[Array, ...]:
        *states, reserve = run(of, *arguments)
        hidden_states = states[arguments[-1].index("hidden_states")]
        ctx.set_materialize_grads(False)  # zeros would be computed with
        ctx.mark_non_differentiable(reserve)
        ctx.save_for_backward(*arguments[: of.inputs], hidden_states, reserve)
        ctx.of, ctx.options = of, arguments[of.inputs :]
        return *states, reserve

    @staticmethod
    def backward(ctx: Any, *d_results: Array | None) -> tuple[Array | None, ...]:
        needs, of = ctx.needs_input_grad[2:], ctx.of
        *arrays, hidden_states, reserve = ctx.saved_tensors
        wanted = [name for name, need in zip(of.cell.inputs, needs, strict=False) if need]
        d_inputs = iter(
            of.backward(*arrays, *ctx.options, hidden_states, reserve, d_results[:-1], wanted)
        )
        return None, None, *[next(d_inputs) if need else None for need in needs]


class _Second(_SingleLevelFunction):
    """The operators, what runs, the arguments of `backward` without gradients, and the rest."""

    @staticmethod
    def forward(
        ctx: Any,
        of: Operators,
        run: Any,
        options: list[Any],
        hidden_states: Array,
        reserve: Array,
        wanted: list[str],
        *tensors: Array | None,
    ) -> tuple[Array, ...]:
        arrays, d_states = tensors[: of.inputs], tensors[of.inputs :]
        d_inputs = run(of, *arrays, *options, hidden_states, reserve, d_states, wanted)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors)
        ctx.of, ctx.options, ctx.wanted = of, options, wanted
        return tuple(d_inputs)

    @staticmethod
    def backward(ctx: Any, *dd_inputs: Array | None) -> tuple[Array | None, ...]:
        tensors, cell = ctx.saved_tensors, ctx.of.cell
        arrays = dict(zip(cell.inputs, tensors, strict=False))
        d_states = tensors[ctx.of.inputs :]
        arriving = [n for n, d in enumerate(d_states) if d is not None]
        options, names = ctx.options
        # Every float goes in as an argument: its gradient may be asked for.
        floats = [n for n, a in arrays.items() if a is not None and n in cell.differentiable]

        def states(*given: Array) -> tuple[Array, ...]:
            inputs = {**arrays, **dict(zip(floats, given, strict=True))}
            return tuple(cell.portable(inputs, options, [names[n] for n in arriving]))

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
            *(None,) * 6,
            *(by_name.get(name) for name in cell.inputs),
            *(by_position.get(n) for n in range(len(d_states))),
        )


def _plain(of: Operators, keys: Any, *arguments: Any) -> list[Array]:
    if _want_gradient(arguments[: of.inputs]):
        *rest, names = arguments
        return _training(of, keys, *rest, kept(names))[: len(names)]
    below = keys & _after_autograd_keyset
    if _is_plain(below):
        return forward(of, *arguments)
    return _redispatch(of.forward, below, arguments)


def _training(of: Operators, keys: Any, *arguments: Any) -> list[Array]:
    below = keys & _after_autograd_keyset
    plain = _is_plain(below)
    if _want_gradient(arguments[: of.inputs]):
        run = forward_training if plain else _training_below
        return _record(_First, plain, of, run, *arguments)
    if plain:
        return forward_training(of, *arguments)
    return _redispatch(of.training, below, arguments)


def _backward(of: Operators, keys: Any, *arguments: Any) -> list[Array]:
    below = keys & _after_autograd_keyset
    plain = _is_plain(below)
    *first, hidden_states, reserve, d_states, wanted = arguments
    arrays, options = first[: of.inputs], first[of.inputs :]
    if _want_gradient((*arrays, *d_states)):
        run = backward if plain else _backward_below
        given = (of, run, options, hidden_states, reserve, wanted)
        return _record(_Second, plain, *given, *arrays, *d_states)
    return backward(of, *arguments) if plain else _redispatch(of.backward, below, arguments)


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


def _training_below(of: Operators, *arguments: Any) -> Any:
    return _level_below(of.training, arguments)


def _backward_below(of: Operators, *arguments: Any) -> Any:
    return _level_below(of.backward, arguments)


def _level_below(operator: Any, arguments: Any) -> Any:
    # A function's forward runs without gradients; the level below may want its own.
    with torch.enable_grad(), _AutoDispatchBelowAutograd():
        return operator(*arguments)


def register(of: Operators) -> None:
    """The gradients of the operators of a cell."""
    for operator, function in (
        (of.forward, _plain),
        (of.training, _training),
        (of.backward, _backward),
    ):
        library.impl(operator, partial(function, of), "Autograd", with_keyset=True)


register(LSTM)
