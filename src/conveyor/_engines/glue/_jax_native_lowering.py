"""JAX: what the compiler is given for the primitives of the native engine."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial
from typing import Any

import jax
import numpy as np
from jax.interpreters import mlir

from .. import _cells
from .._request import Array
from . import _jax_native_portable as portable
from ._jax_native_parts import Backward, Forward, Part, in_turn, of_all, with_results
from ._jax_native_portable import as_request

_Lowering = Callable[..., Any]

# The handlers of the core.
FORWARD = {_cells.LSTM: "conveyor_jax_forward", _cells.GRU: "conveyor_jax_gru_forward"}
BACKWARD = {_cells.LSTM: "conveyor_jax_backward", _cells.GRU: "conveyor_jax_gru_backward"}


def register(forward_p: Any, tangent_p: Any, backward_p: Any) -> None:
    """The core on the CPU; everywhere else, and in forward mode, the portable engine."""
    elsewhere = _of_cell("that is exported, or compiled for another platform than the CPU,")
    forward = as_portable(of_all(portable.forward), elsewhere)
    backward = as_portable(of_all(portable.backward), elsewhere)
    tangent = as_portable(of_all(portable.tangent), _of_cell("differentiated in forward mode"))
    mlir.register_lowering(forward_p, forward)
    mlir.register_lowering(tangent_p, tangent)
    mlir.register_lowering(backward_p, backward)
    mlir.register_lowering(forward_p, unless_exported(_forward, forward), "cpu")
    mlir.register_lowering(backward_p, unless_exported(_backward, backward), "cpu")


def _of_cell(rest: str) -> Callable[..., str]:
    return lambda parts: f"{parts[0].cell.what} {rest}"


def say(what: str) -> None:
    """Where a request that the native engine took leaves it."""
    logging.getLogger("conveyor").info("%s runs on the portable engine", what)


def run_alone(primitive: Any) -> Callable[..., Sequence[Array]]:
    """The primitive outside of compiled code, compiled once for each kind of call."""

    @cache
    def compiled(**params: Any) -> Any:
        return jax.jit(partial(primitive.bind, **params))

    def run(*operands: Array, **params: Any) -> Sequence[Array]:
        with jax.disable_jit(False):
            results: Sequence[Array] = compiled(**params)(*operands)
        return results

    return run


def as_portable(function: Callable[..., Any], what: Callable[..., str]) -> _Lowering:
    """The portable function, and a line in the log that says so: `what` of the parameters."""
    lowering: _Lowering = mlir.lower_fun(function, multiple_results=True)

    def say_and_lower(ctx: Any, *operands: Any, **params: Any) -> Any:
        say(what(**params))
        return lowering(ctx, *operands, **params)

    return say_and_lower


def unless_exported(lowering: _Lowering, otherwise: _Lowering) -> _Lowering:
    """`jax.export` writes programs for processes that may not have the core."""

    def either(ctx: Any, *operands: Any, **params: Any) -> Any:
        exported = ctx.module_context.lowering_parameters.for_export
        return (otherwise if exported else lowering)(ctx, *operands, **params)

    return either


def _forward(ctx: Any, *operands: Any, parts: tuple[Forward, ...]) -> Any:
    return _call(
        FORWARD,
        ctx,
        operands,
        parts,
        states=[_bits(part.outputs, part.cell.states) for part in parts],
        reserve=[int(part.keep) for part in parts],
    )


def _backward(ctx: Any, *operands: Any, parts: tuple[Backward, ...]) -> Any:
    return _call(
        BACKWARD,
        ctx,
        operands,
        parts,
        states=[_bits(part.arriving, part.cell.states) for part in parts],
        gradients=[_bits(part.wanted, part.cell.inputs) for part in parts],
    )


def _call(
    handlers: dict[_cells.Cell, str],
    ctx: Any,
    operands: Sequence[Any],
    parts: tuple[Any, ...],
    **each: list[int],
) -> Any:
    """One call of the core, as `native/bindings/jax_cells.cc` reads it."""
    problem: list[int] = []
    results = with_results(parts, ctx.avals_out)

    def tell(part: Part, *avals: Any) -> Sequence[Any]:
        problem.extend(_numbers(part, avals))
        return next(results)[1]

    in_turn(parts, ctx.avals_in, tell)
    told = {
        "inputs": [_bits(part.given, part.cell.inputs) for part in parts],
        "chained": [int(part.chained) for part in parts],
        "problem": problem,
        **each,
    }
    attributes = {name: np.array(numbers, np.int64) for name, numbers in told.items()}
    return jax.ffi.ffi_lowering(handlers[parts[0].cell])(ctx, *operands, **attributes)


def _numbers(part: Part, avals: Sequence[Any]) -> Sequence[int]:
    numbers: Sequence[int] = part.cell.core.numbers(part.cell.problem(as_request(part, avals)))
    return numbers


def _bits(names: Iterable[str], order: Sequence[str]) -> int:
    return sum(1 << order.index(name) for name in names)
