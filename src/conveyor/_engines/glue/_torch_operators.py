"""The native engine as operators of PyTorch, opaque to its compilers.

conveyor::lstm            the states; keeps nothing.
conveyor::lstm_training   the states, hidden_states among them, then the reserve: where a
                          gradient will be asked for.
conveyor::lstm_backward   the gradients of the inputs.

Registered one dispatch key at a time, and not by `torch.library.custom_op`, which takes
lists of tensors through pytrees: that alone would cost as much as all of this.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import torch

from ..._errors import ConveyorError
from ..._vocabulary import STATE_NAMES, StateName, has_time_axis
from .. import _library, _together
from .._library import DIFFERENTIABLE, INPUTS, Problem
from .._options import options
from .._request import Array

_ARGUMENTS = (
    "Tensor x, Tensor kernel, Tensor recurrent_kernel, Tensor? bias, "
    "Tensor? hidden_state, Tensor? cell_state, Tensor? mask, "
    "Tensor? dropout_mask, Tensor? recurrent_dropout_mask, Tensor? resets, "
    "Tensor? peephole, Tensor? hidden_zoneout, Tensor? cell_zoneout, str options, str[] outputs"
)
library = torch.library.Library("conveyor", "DEF")
library.define(f"lstm({_ARGUMENTS}) -> Tensor[]")
library.define(f"lstm_training({_ARGUMENTS}) -> Tensor[]")
library.define(
    f"lstm_backward({_ARGUMENTS}, Tensor hidden_states, Tensor reserve, Tensor?[] d_states, "
    "str[] wanted) -> Tensor[]"
)
lstm = torch.ops.conveyor.lstm.default
lstm_training = torch.ops.conveyor.lstm_training.default
lstm_backward = torch.ops.conveyor.lstm_backward.default

_DTYPES = {torch.float32: "float32", torch.float64: "float64", torch.bfloat16: "bfloat16"}
_N = len(INPUTS)
_POSITIONS = {name: n for n, name in enumerate(STATE_NAMES)}


def forward(*arguments: Any) -> list[Array]:
    """The kernel of `lstm`."""
    arrays, problem = _read(arguments)
    return _run_forward(arrays, problem, arguments[-1])


def forward_training(*arguments: Any) -> list[Array]:
    """The kernel of `lstm_training`."""
    arrays, problem = _read(arguments)
    reserve = arrays[0].new_empty(_library.reserve_bytes(problem), dtype=torch.uint8)
    states = _run_forward(arrays, problem, arguments[-1], reserve.data_ptr())
    return [*states, reserve]


def forward_together(several: Sequence[Sequence[Any]], *, training: bool) -> list[list[Array]]:
    """The kernel of `lstm`, or of `lstm_training`, for several that do not wait for each other."""
    results, calls, kept_alive = [], [], []
    for arguments in several:
        arrays, problem = _read(arguments)
        names = arguments[-1]
        states = _states(arrays, problem, names)
        reserve = []
        if training:
            size = _library.reserve_bytes(problem)
            reserve = [arrays[0].new_empty(size, dtype=torch.uint8)]
        address = reserve[0].data_ptr() if training else 0
        to = _by_name(names, states)
        calls.append(_together.forward_call(problem, _addresses(arrays), to, address))
        results.append([*states, *reserve])
        kept_alive.append(arrays)
    _together.forward(calls)
    return results


def _run_forward(
    arrays: list[Any], problem: Problem, names: Sequence[StateName], reserve: int = 0
) -> list[Array]:
    states = _states(arrays, problem, names)
    _library.forward_at(problem, _addresses(arrays), _by_name(names, states), reserve)
    return states


def _states(arrays: list[Any], problem: Problem, names: Sequence[StateName]) -> list[Array]:
    # Not torch.empty: under `with torch.device(...)` that is a tensor of another device.
    empty = arrays[0].new_empty
    return [empty(_shape(problem, name)) for name in names]


def backward_together(several: Sequence[Sequence[Any]]) -> list[list[Array]]:
    """The kernel of `lstm_backward` for several that do not wait for each other."""
    prepared = [_prepare_backward(arguments) for arguments in several]
    _together.backward([_together.backward_call(*given) for _, given, _ in prepared])
    return [results for results, _, _ in prepared]


def backward(*arguments: Any) -> list[Array]:
    """The kernel of `lstm_backward`."""
    results, given, _arrays = _prepare_backward(arguments)
    _library.backward_at(*given)
    return results


def _prepare_backward(arguments: Sequence[Any]) -> tuple[list[Array], tuple[Any, ...], Any]:
    """The gradients to write, what the core is told, and the arrays that must live meanwhile."""
    *first, hidden_states, reserve, d_states, wanted = arguments
    names = first[-1]
    arrays, problem = _read(first)
    dtype = arrays[0].dtype
    hidden_states, reserve, *d_states = _dense((hidden_states, reserve, *d_states))
    _expect(hidden_states, "hidden_states", _shape(problem, "hidden_states"), dtype)
    _expect(reserve, "reserve", (_library.reserve_bytes(problem),), torch.uint8)
    for name, d in zip(names, d_states, strict=True):
        if d is not None:
            _expect(d, f"d_{name}", _shape(problem, name), dtype)
    inputs = dict(zip(INPUTS, arrays, strict=True))
    results = {
        name: torch.empty_like(inputs[name], memory_format=torch.contiguous_format)
        for name in wanted
    }
    given = (
        problem,
        _addresses(arrays),
        hidden_states.data_ptr(),
        reserve.data_ptr(),
        _by_name(names, d_states),
        _addresses(map(results.get, DIFFERENTIABLE)),
    )
    return list(results.values()), given, (arrays, hidden_states, reserve, d_states)


def _read(arguments: Sequence[Any]) -> tuple[list[Any], Problem]:
    """The arrays, dense, and what they are to the core."""
    arrays = _dense(arguments[:_N])
    signature = tuple([None if a is None else (a.shape, a.dtype) for a in arrays])
    threads = _library.threads_beside(torch.get_num_threads())
    return arrays, _problem(signature, arguments[_N], threads)


def _dense(arrays: Iterable[Array | None]) -> list[Any]:
    return [None if a is None else a.contiguous() for a in arrays]


def _addresses(arrays: Iterable[Array | None]) -> list[int]:
    return [0 if a is None else a.data_ptr() for a in arrays]


def _by_name(names: Sequence[StateName], states: Sequence[Array | None]) -> list[int]:
    addresses = [0] * len(STATE_NAMES)
    for name, state in zip(names, states, strict=True):
        addresses[_POSITIONS[name]] = 0 if state is None else state.data_ptr()
    return addresses


def kept(names: Sequence[StateName]) -> Sequence[StateName]:
    """What `lstm_training` is to return where these are wanted."""
    return names if "hidden_states" in names else [*names, "hidden_states"]


@lru_cache(maxsize=1024)
def _problem(
    signature: tuple[Any, ...],
    text: str,
    threads: int,
) -> Problem:
    """`ops.lstm` has checked its arrays; this is for those who call the operator itself."""
    given = dict(zip(INPUTS, signature, strict=True))
    (batch, time_steps, features), dtype = given["x"]
    units = given["recurrent_kernel"][0][0]
    state = torch.float32 if dtype is torch.bfloat16 else dtype
    expected = {
        "kernel": ((features, 4 * units), dtype),
        "recurrent_kernel": ((units, 4 * units), dtype),
        "bias": ((4 * units,), dtype),
        "hidden_state": ((batch, units), dtype),
        "cell_state": ((batch, units), state),
        "mask": ((batch, time_steps), torch.bool),
        "resets": ((batch, time_steps), torch.uint8),
        "peephole": ((3 * units,), dtype),
        "hidden_zoneout": ((batch, time_steps, units), torch.bool),
        "cell_zoneout": ((batch, time_steps, units), torch.bool),
    }
    for name, (shape, wanted) in expected.items():
        if given[name] is not None:
            _check(given[name], name, shape, wanted)
    return Problem(
        dtype=_DTYPES[dtype],
        batch=batch,
        time_steps=time_steps,
        features=features,
        units=units,
        options=options(text),
        dropout_masks=_masks(given, "dropout_mask", (batch, features), dtype),
        recurrent_dropout_masks=_masks(given, "recurrent_dropout_mask", (batch, units), dtype),
        threads=threads,
    )


def _masks(given: dict[str, Any], name: str, shape: tuple[int, int], dtype: Any) -> int:
    if given[name] is None:
        return 0
    shared = len(given[name][0]) == 2
    _check(given[name], name, shape if shared else (4, *shape), dtype)
    return 1 if shared else 4


def _expect(array: Array, name: str, shape: tuple[int, ...], dtype: Any) -> None:
    _check((array.shape, array.dtype), name, shape, dtype)


def _check(got: tuple[Any, Any], name: str, shape: tuple[int, ...], dtype: Any) -> None:
    if got != (shape, dtype):
        raise ConveyorError(
            f"torch.ops.conveyor expects {name} of shape {shape} in {dtype}; got shape "
            f"{tuple(got[0])} in {got[1]}.\nCall conveyor.ops.lstm, which does it for you."
        )


def _shape(p: Problem, name: str) -> tuple[int, ...]:
    return (p.batch, p.time_steps, p.units) if has_time_axis(name) else (p.batch, p.units)


def _fake_forward(*arguments: Any) -> list[Array]:
    x, recurrent_kernel, names = arguments[0], arguments[2], arguments[-1]
    batch, time_steps, _ = x.shape
    units = recurrent_kernel.shape[0]
    shapes = {True: (batch, time_steps, units), False: (batch, units)}
    return [x.new_empty(shapes[has_time_axis(name)]) for name in names]


def _fake_training(*arguments: Any) -> list[Array]:
    x, recurrent_kernel = arguments[0], arguments[2]
    # The size is so much for each step; a symbolic batch or time axis stays symbolic.
    one = Problem(_DTYPES[x.dtype], 1, 1, 1, int(recurrent_kernel.shape[0]))
    bytes_a_step = _library.reserve_bytes(one)
    size = x.shape[0] * x.shape[1] * bytes_a_step
    return [*_fake_forward(*arguments), x.new_empty(size, dtype=torch.uint8)]


def _fake_backward(*arguments: Any) -> list[Array]:
    inputs = dict(zip(INPUTS, arguments, strict=False))
    return [inputs[name].new_empty(inputs[name].shape) for name in arguments[-1]]


for _name, _kernel, _fake in (
    ("lstm", forward, _fake_forward),
    ("lstm_training", forward_training, _fake_training),
    ("lstm_backward", backward, _fake_backward),
):
    library.impl(_name, _kernel, "CPU")
    torch.library.register_fake(f"conveyor::{_name}", _fake, lib=library)
