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
from .._cells import Names
from .._request import Array
from . import _jax_native_portable as portable
from ._jax_native_portable import as_request

_Lowering = Callable[..., Any]

# The handlers of the core.
FORWARD = {_cells.LSTM: "conveyor_jax_forward", _cells.GRU: "conveyor_jax_gru_forward"}
BACKWARD = {_cells.LSTM: "conveyor_jax_backward", _cells.GRU: "conveyor_jax_gru_backward"}


def register(forward_p: Any, tangent_p: Any, backward_p: Any) -> None:
    """The core on the CPU; everywhere else, and in forward mode, the portable engine."""
    elsewhere = _of_cell("that is exported, or compiled for another platform than the CPU,")
    forward = as_portable(portable.forward, elsewhere)
    backward = as_portable(portable.backward, elsewhere)
    tangent = as_portable(portable.tangent, _of_cell("differentiated in forward mode"))
    mlir.register_lowering(forward_p, forward)
    mlir.register_lowering(tangent_p, tangent)
    mlir.register_lowering(backward_p, backward)
    mlir.register_lowering(forward_p, unless_exported(_forward, forward), "cpu")
    mlir.register_lowering(backward_p, unless_exported(_backward, backward), "cpu")


def _of_cell(rest: str) -> Callable[..., str]:
    return lambda **params: f"{_cells.of(params['request']).what} {rest}"


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


def _forward(
    ctx: Any, *operands: Any, request: Any, given: Names, outputs: Names, keep: bool
) -> Any:
    cell = _cells.of(request)
    return jax.ffi.ffi_lowering(FORWARD[cell])(
        ctx,
        *operands,
        **_attributes(ctx, request, given),
        states=_bits(outputs, cell.states),
        reserve=np.int64(keep),
    )


def _backward(
    ctx: Any,
    *operands: Any,
    request: Any,
    given: Names,
    arriving: Names,
    wanted: Names,
) -> Any:
    cell = _cells.of(request)
    return jax.ffi.ffi_lowering(BACKWARD[cell])(
        ctx,
        *operands,
        **_attributes(ctx, request, given),
        states=_bits(arriving, cell.states),
        gradients=_bits(wanted, cell.inputs),
    )


def _attributes(ctx: Any, request: Any, given: Names) -> dict[str, Any]:
    """What `native/bindings/jax_cells.cc` reads."""
    cell = _cells.of(request)
    problem = cell.problem(as_request(request, given, ctx.avals_in))
    return {
        "inputs": _bits(given, cell.inputs),
        "problem": np.array(cell.core.numbers(problem), np.int64),
    }


def _bits(names: Iterable[str], order: Sequence[str]) -> np.int64:
    return np.int64(sum(1 << order.index(name) for name in names))
