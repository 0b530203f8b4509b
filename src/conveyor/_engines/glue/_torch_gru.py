"""The GRU of the native engine as operators of PyTorch, opaque to its compilers.

conveyor::gru            the states; keeps nothing.
conveyor::gru_training   the states, hidden_states among them, then the reserve.
conveyor::gru_backward   the gradients of the inputs; its own come from the portable engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import torch

from .. import _gru_library, _library, _native_gru, _portable_gru
from .._gru_library import DIFFERENTIABLE, INPUTS, Problem
from .._gru_request import GRURequest, GRUStates
from .._request import Array

_ARGUMENTS = (
    "Tensor x, Tensor kernel, Tensor recurrent_kernel, Tensor? bias, Tensor? hidden_state, "
    "Tensor? mask, Tensor? dropout_mask, Tensor? recurrent_dropout_mask, Tensor? resets, "
    "str activation, str recurrent_activation, bool reset_after, bool go_backwards, "
    "str[] outputs"
)
_N = len(INPUTS)
_DTYPES = {torch.float32: "float32", torch.float64: "float64", torch.bfloat16: "bfloat16"}


def why_no_gru() -> str | None:
    """Why the engine computes no GRU here, whatever its arrays, or None."""
    # PyTorch's own rule for operators that return lists does not run there.
    if torch._C._functorch.peek_interpreter_stack() is not None:
        return "a GRU inside of torch.func; it has the gradients of autograd"
    return None


def native_gru(request: GRURequest) -> GRUStates:
    """The states of the request, from the native engine."""
    r, arrays = request, request.arrays()
    names = list(r.outputs)
    options = (
        r.activation.__name__,
        r.recurrent_activation.__name__,
        r.reset_after,
        r.go_backwards,
    )
    if not _may_want_gradient(arrays.values()):
        states = gru(*(arrays[n] for n in INPUTS), *options, names)
    else:
        kept = names if "hidden_states" in names else [*names, "hidden_states"]
        states = gru_training(*(arrays[n] for n in INPUTS), *options, kept)
    return dict(zip(r.outputs, states, strict=False))


def _may_want_gradient(arrays: Any) -> bool:
    wanted = any(a is not None and a.requires_grad for a in arrays)
    return torch.is_grad_enabled() and wanted


def _forward(*arguments: Any) -> list[Array]:
    arrays, problem = _read(arguments)
    return _run(arrays, problem, arguments[-1])


def _training(*arguments: Any) -> list[Array]:
    arrays, problem = _read(arguments)
    reserve = arrays["x"].new_empty(_gru_library.reserve_bytes(problem), dtype=torch.uint8)
    return [*_run(arrays, problem, arguments[-1], reserve.data_ptr()), reserve]


def _run(
    arrays: dict[str, Any], problem: Problem, names: Sequence[str], reserve: int = 0
) -> list[Array]:
    empty = arrays["x"].new_empty
    states = {name: empty(_native_gru.shape_of(problem, name)) for name in names}
    _gru_library.forward(problem, _addresses(arrays), _addresses(states), reserve)
    return list(states.values())


def _backward(*arguments: Any) -> list[Array]:
    *first, hidden_states, reserve, d_states, wanted = arguments
    arrays, problem = _read(first)
    arriving = {n: d.contiguous() for n, d in _arrived(first[-1], d_states)}
    hidden_states, reserve = hidden_states.contiguous(), reserve.contiguous()
    results = {
        name: torch.empty_like(arrays[name], memory_format=torch.contiguous_format)
        for name in wanted
    }
    _gru_library.backward(
        problem,
        _addresses(arrays),
        hidden_states.data_ptr(),
        reserve.data_ptr(),
        _addresses(arriving),
        _addresses(results),
    )
    return list(results.values())


def _arrived(names: Sequence[str], d_states: Sequence[Array]) -> list[tuple[str, Array]]:
    """By name; one without numbers stands for zeros."""
    return [(n, d) for n, d in zip(names, d_states, strict=True) if d.ndim > 1]


def _read(arguments: Sequence[Any]) -> tuple[dict[str, Any], Problem]:
    """The arrays, dense, and what they are to the core."""
    arrays: dict[str, Any] = {
        name: None if a is None else a.contiguous()
        for name, a in zip(INPUTS, arguments, strict=False)
    }
    dtype = _DTYPES[arrays["x"].dtype]
    threads = _library.threads_beside(torch.get_num_threads())
    options = tuple(arguments[_N : _N + 4])
    return arrays, _native_gru.problem_of(dtype, arrays, options, threads)


def _addresses(arrays: dict[str, Any]) -> dict[str, int]:
    return {name: 0 if a is None else a.data_ptr() for name, a in arrays.items()}


def _operator(name: str, function: Any, schema: str) -> Any:
    return torch.library.custom_op(
        f"conveyor::{name}", function, mutates_args=(), device_types="cpu", schema=schema
    )


gru = _operator("gru", _forward, f"({_ARGUMENTS}) -> Tensor[]")
gru_training = _operator("gru_training", _training, f"({_ARGUMENTS}) -> Tensor[]")
gru_backward = _operator(
    "gru_backward",
    _backward,
    f"({_ARGUMENTS}, Tensor hidden_states, Tensor reserve, Tensor[] d_states, str[] wanted)"
    " -> Tensor[]",
)


def _fake_forward(*arguments: Any) -> list[Array]:
    x, units = arguments[0], arguments[2].shape[0]
    return [
        x.new_empty((x.shape[0], units) if name == "hidden_state" else (*x.shape[:2], units))
        for name in arguments[-1]
    ]


def _fake_training(*arguments: Any) -> list[Array]:
    x = arguments[0]
    one = Problem(_DTYPES[x.dtype], 1, 1, 1, int(arguments[2].shape[0]))
    size = x.shape[0] * x.shape[1] * _gru_library.reserve_bytes(one)
    return [*_fake_forward(*arguments), x.new_empty(size, dtype=torch.uint8)]


def _fake_backward(*arguments: Any) -> list[Array]:
    inputs = dict(zip(INPUTS, arguments, strict=False))
    return [inputs[name].new_empty(inputs[name].shape) for name in arguments[-1]]


gru.register_fake(_fake_forward)
gru_training.register_fake(_fake_training)
gru_backward.register_fake(_fake_backward)


def _keep_training(ctx: Any, inputs: tuple[Any, ...], output: list[Array]) -> None:
    *states, reserve = output
    hidden_states = states[list(inputs[-1]).index("hidden_states")]
    ctx.save_for_backward(*inputs[:_N], hidden_states, reserve)
    ctx.options = inputs[_N:]
    ctx.set_materialize_grads(False)


def _first_gradients(ctx: Any, d_results: Sequence[Array | None]) -> tuple[Any, ...]:
    *arrays, hidden_states, reserve = ctx.saved_tensors
    needs = ctx.needs_input_grad[:_N]
    wanted = [name for name, need in zip(INPUTS, needs, strict=True) if need]
    nothing = hidden_states.new_empty(0)
    d_states = [nothing if d is None else d for d in d_results[:-1]]
    found = gru_backward(*arrays, *ctx.options, hidden_states, reserve, d_states, wanted)
    by_name = dict(zip(wanted, found, strict=True))
    return *(by_name.get(name) for name in INPUTS), *(None,) * len(ctx.options)


def _keep_backward(ctx: Any, inputs: tuple[Any, ...], output: list[Array]) -> None:
    d_states = inputs[-2]
    ctx.save_for_backward(*inputs[:_N], *d_states)
    ctx.options, ctx.wanted = inputs[_N : _N + 5], inputs[-1]
    ctx.set_materialize_grads(False)


def _second_gradients(ctx: Any, dd_inputs: Sequence[Array | None]) -> tuple[Any, ...]:
    """Those of the portable engine, differentiated twice."""
    tensors = ctx.saved_tensors
    arrays = dict(zip(INPUTS, tensors, strict=False))
    d_states = tensors[_N:]
    *options, names = ctx.options
    arriving = dict(_arrived(names, d_states))
    floats = [n for n in DIFFERENTIABLE if arrays[n] is not None]

    def states(*given: Array) -> tuple[Array, ...]:
        inputs = {**arrays, **dict(zip(floats, given, strict=True))}
        return _portable_states(inputs, options, tuple(arriving))

    def gradients(given: tuple[Array, ...], d: tuple[Array, ...]) -> tuple[Array, ...]:
        _, pull = torch.func.vjp(states, *given)
        found = dict(zip(floats, pull(d), strict=True))
        return tuple(found[name] for name in ctx.wanted)

    found, pull = torch.func.vjp(
        gradients, tuple(arrays[n] for n in floats), tuple(arriving.values())
    )
    cotangents = tuple(
        torch.zeros_like(d) if dd is None else dd for d, dd in zip(found, dd_inputs, strict=True)
    )
    dd_given, dd_states = pull(cotangents)
    by_input = dict(zip(floats, dd_given, strict=True))
    by_state = dict(zip(arriving, dd_states, strict=True))
    return (
        *(by_input.get(name) for name in INPUTS),
        *(None,) * 7,  # options, names, hidden_states and reserve
        [by_state.get(name) for name in names],
        None,
    )


def _portable_states(
    inputs: dict[str, Any], options: Sequence[Any], names: tuple[Any, ...]
) -> tuple[Array, ...]:
    activation, recurrent_activation, reset_after, go_backwards = options
    request = GRURequest(
        **inputs,
        activation=keras.activations.get(activation),
        recurrent_activation=keras.activations.get(recurrent_activation),
        reset_after=reset_after,
        go_backwards=go_backwards,
        unroll=False,
        outputs=names,
    )
    states = _portable_gru.run(request)
    return tuple(states[name] for name in names)


gru_training.register_autograd(_first_gradients, setup_context=_keep_training)
gru_backward.register_autograd(_second_gradients, setup_context=_keep_backward)
