"""JAX: what the compiler is given for the primitives of the native engine."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial
from typing import Any

import jax
import numpy as np
from jax.interpreters import mlir

from ..._vocabulary import STATE_NAMES
from .. import _layout, _library, _native
from .._request import Array, LSTMRequest
from . import _jax_native_portable as portable
from ._jax_native_portable import Names, StateNames, as_request

_Lowering = Callable[..., Any]


def register(forward_p: Any, tangent_p: Any, backward_p: Any) -> None:
    """The core on the CPU; everywhere else, and in forward mode, the portable engine."""
    elsewhere = "an LSTM that is exported, or compiled for another platform than the CPU,"
    forward = as_portable(portable.forward, elsewhere)
    backward = as_portable(portable.backward, elsewhere)
    tangent = as_portable(portable.tangent, "an LSTM differentiated in forward mode")
    mlir.register_lowering(forward_p, forward)
    mlir.register_lowering(tangent_p, tangent)
    mlir.register_lowering(backward_p, backward)
    mlir.register_lowering(forward_p, unless_exported(_forward, forward), "cpu")
    mlir.register_lowering(backward_p, unless_exported(_backward, backward), "cpu")


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


def as_portable(function: Callable[..., Any], what: str) -> _Lowering:
    """The portable function, and a line in the log that says so."""
    lowering: _Lowering = mlir.lower_fun(function, multiple_results=True)

    def say_and_lower(ctx: Any, *operands: Any, **params: Any) -> Any:
        say(what)
        return lowering(ctx, *operands, **params)

    return say_and_lower


def unless_exported(lowering: _Lowering, otherwise: _Lowering) -> _Lowering:
    """`jax.export` writes programs for processes that may not have the core."""

    def either(ctx: Any, *operands: Any, **params: Any) -> Any:
        exported = ctx.module_context.lowering_parameters.for_export
        return (otherwise if exported else lowering)(ctx, *operands, **params)

    return either


def _forward(
    ctx: Any, *operands: Any, lstm: LSTMRequest, given: Names, outputs: StateNames, keep: bool
) -> Any:
    return jax.ffi.ffi_lowering("conveyor_jax_forward")(
        ctx,
        *operands,
        **_attributes(ctx, lstm, given),
        states=_bits(outputs, STATE_NAMES),
        reserve=np.int64(keep),
    )


def _backward(
    ctx: Any,
    *operands: Any,
    lstm: LSTMRequest,
    given: Names,
    arriving: StateNames,
    wanted: Names,
) -> Any:
    return jax.ffi.ffi_lowering("conveyor_jax_backward")(
        ctx,
        *operands,
        **_attributes(ctx, lstm, given),
        states=_bits(arriving, STATE_NAMES),
        gradients=_bits(wanted, _library.INPUTS),
    )


def _attributes(ctx: Any, lstm: LSTMRequest, given: Names) -> dict[str, Any]:
    """What `native/bindings/jax_ffi.cc` reads."""
    p = _native.problem(as_request(lstm, given, ctx.avals_in))
    return {
        "inputs": _bits(given, _library.INPUTS),
        "lstm": np.array(_layout.numbers(p), np.int64),
    }


def _bits(names: Iterable[str], order: Sequence[str]) -> np.int64:
    return np.int64(sum(1 << order.index(name) for name in names))
