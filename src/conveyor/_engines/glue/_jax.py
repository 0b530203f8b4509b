"""JAX: the loop is one `lax.scan`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from types import FunctionType
from typing import Any, cast

import jax
import jax.numpy as jnp
import keras
import numpy as np
from jax import lax

from .._request import Activation, Array, LSTMRequest, Run, States
from ._jax_linear import native_cross_entropy as native_cross_entropy
from ._jax_linear import native_top_k as native_top_k
from ._jax_native import native as native
from ._jax_native import native_stack as native_stack
from ._jax_native import native_together as native_together
from ._jax_native import why_not_native as why_not_native
from ._state_variable import StateVariable as StateVariable


def scan(step: Any, carry: Any, steps: tuple[Array, ...], *, kept: int, unroll: bool) -> Any:
    return lax.scan(step, carry, steps, unroll=True if unroll else 1)


def in_segments(segment: Any, shared: Any, carry: Any, steps: tuple[Array, ...]) -> Any:
    # Inside of a scan no compiler can join the two passes.
    again = jax.checkpoint(lambda carry, one: segment(shared, carry, one), prevent_cse=False)
    return lax.scan(again, carry, steps)


def empty(x: Array, width: int) -> Array:
    return jnp.zeros((*x.shape[:-1], width), x.dtype)


def compiled(run: Run, request: LSTMRequest) -> States:
    # Outside jit, JAX would compile the scan again at every call, each step being a new
    # function. An activation of the user's may hold weights, which must not be cached.
    if _is_pure(request.activation) and _is_pure(request.recurrent_activation):
        arrays = request.arrays()
        nothing: dict[str, Any] = dict.fromkeys(arrays)
        blank = replace(request, **nothing)
        return cast(States, _compiled(run, blank, arrays))
    return run(request)


@partial(jax.jit, static_argnums=(0, 1))
def _compiled(run: Run, blank: LSTMRequest, arrays: dict[str, Any]) -> States:
    return run(replace(blank, **arrays))


_PURE = {f for f in vars(keras.activations).values() if isinstance(f, FunctionType)}


def _is_pure(activation: Activation) -> bool:
    return isinstance(activation, FunctionType) and activation in _PURE


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _summed(run: Any, arrays: tuple[Array, ...], labels: Array) -> tuple[Array, Any]:
    value, rest, _ = run(arrays, labels, False)
    return value, rest


def _summed_forward(run: Any, arrays: tuple[Array, ...], labels: Array) -> tuple[Any, Any]:
    value, rest, gradients = run(arrays, labels, True)
    return (value, rest), gradients


def _summed_backward(run: Any, gradients: list[Array], d_results: Any) -> tuple[Any, None]:
    return tuple(g * d_results[0].astype(g.dtype) for g in gradients), None


_summed.defvjp(_summed_forward, _summed_backward)
# Outside of jit each operation would run by itself.
_summed_at_once = jax.jit(_summed, static_argnums=0)


def sum_with_gradients(run: Any, arrays: Sequence[Array], labels: Array) -> tuple[Array, Any]:
    value, rest = _summed_at_once(run, tuple(arrays), labels)
    return value, rest


def threads() -> int:
    return 0  # XLA takes what cores there are


def own(array: Array) -> bool:
    return type(array).__name__ == "ArrayImpl"  # whose place in JAX is private


def concrete(array: Array) -> np.ndarray | None:
    return None if isinstance(array, jax.core.Tracer) else np.asarray(array)


def require(condition: Array, message: str, value: Array) -> Array:
    return value  # shapes are known while this framework traces: the caller has looked


def exact(activation: Activation) -> Activation:
    # keras.activations.tanh rounds float64 to float32 here, whatever JAX allows.
    return jnp.tanh if activation is keras.activations.tanh else activation


def float64() -> AbstractContextManager[None]:
    if hasattr(jax, "enable_x64"):  # since 0.8
        context: AbstractContextManager[None] = jax.enable_x64(True)
        return context
    return cast(AbstractContextManager[None], jax.experimental.enable_x64(True))


def compile_function(function: Any, variables: Sequence[Any]) -> Any:
    def run(values: list[Array], arrays: tuple[Any, ...]) -> Any:
        # As arguments: weights that a compiled function has closed over are constants in it.
        with keras.StatelessScope(state_mapping=zip(variables, values, strict=True)):
            return function(*arrays)

    compiled = jax.jit(run)
    return lambda *arrays: compiled([variable.value for variable in variables], arrays)


def without_gradients() -> AbstractContextManager[None]:
    return nullcontext()  # they are asked for, and not kept for later


def gradients(function: Any, arrays: Sequence[np.ndarray]) -> tuple[Array, list[Array]]:
    places = tuple(range(len(arrays)))
    value, grads = jax.value_and_grad(function, argnums=places)(*map(jnp.asarray, arrays))
    return value, list(grads)


def in_one_pass(optimizer: type) -> type:
    return optimizer
