"""The native engine as operators of PyTorch, opaque to its compilers.

conveyor::lstm            the states; keeps nothing.
conveyor::lstm_training   the states, hidden_states among them, then the reserve: where a
                          gradient will be asked for.
conveyor::lstm_backward   the gradients of the inputs.

And the same for a GRU, in `_torch_gru`.

Registered one dispatch key at a time, and not by `torch.library.custom_op`, which takes
lists of tensors through pytrees: that alone would cost as much as all of this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import torch

from ..._errors import ConveyorError
from ..._vocabulary import has_time_axis
from .. import _cells, _library, _together
from .._cells import Cell
from .._library import INPUTS, Problem
from .._options import options
from .._request import Array

_ARGUMENTS = (
    "Tensor x, Tensor kernel, Tensor recurrent_kernel, Tensor? bias, "
    "Tensor? hidden_state, Tensor? cell_state, Tensor? mask, "
    "Tensor? dropout_mask, Tensor? recurrent_dropout_mask, Tensor? resets, "
    "Tensor? peephole, Tensor? hidden_zoneout, Tensor? cell_zoneout, "
    "Tensor? output_kernel, Tensor? output_bias, Tensor? projection_kernel, "
    "Tensor? gate_scale, Tensor? cell_scale, Tensor? cell_shift, str options, str[] outputs"
)
library = torch.library.Library("conveyor", "DEF")

DTYPES = {torch.float32: "float32", torch.float64: "float64", torch.bfloat16: "bfloat16"}


@dataclass(frozen=True, eq=False)
class Operators:
    """The three of a cell."""

    cell: Cell
    problem: Callable[[tuple[Any, ...], str, int], Any]  # checks shapes and dtypes of the inputs
    forward: Any
    training: Any
    backward: Any

    @property
    def inputs(self) -> int:
        """How many arguments are arrays, or could be."""
        return len(self.cell.inputs)


def forward(of: Operators, *arguments: Any) -> list[Array]:
    """The kernel of `of.forward`."""
    arrays, problem = _read(of, arguments)
    return _run_forward(of, arrays, problem, arguments[-1])


def forward_training(of: Operators, *arguments: Any) -> list[Array]:
    """The kernel of `of.training`."""
    arrays, problem = _read(of, arguments)
    reserve = arrays[0].new_empty(of.cell.core.reserve_bytes(problem), dtype=torch.uint8)
    states = _run_forward(of, arrays, problem, arguments[-1], reserve.data_ptr())
    return [*states, reserve]


def _run_forward(
    of: Operators, arrays: list[Any], problem: Any, names: Sequence[str], reserve: int = 0
) -> list[Array]:
    states = _states(arrays, problem, names)
    addresses = _by_name(of, names, states)
    of.cell.core.forward_at(problem, _addresses(arrays), addresses, reserve)
    return states


def _states(arrays: list[Any], problem: Any, names: Sequence[str]) -> list[Array]:
    # Not torch.empty: under `with torch.device(...)` that is a tensor of another device.
    empty = arrays[0].new_empty
    return [empty(problem.state_shape(name)) for name in names]


def forward_together(
    several: Sequence[Sequence[Any]], *, training: bool, stack: bool
) -> list[list[Array]]:
    """The kernel of `lstm`, or of `lstm_training`, for several in one call of the core.

    In a stack each but the first reads the hidden states of the one before, and has None for x.
    """
    results: list[list[Array]] = []
    calls, kept_alive = [], []
    hidden_states = None
    for x, *others in several:
        arrays, problem = _read(LSTM, (hidden_states if stack and results else x, *others))
        names = others[-1]
        states = _states(arrays, problem, names)
        reserve = []
        if training:
            size = _library.reserve_bytes(problem)
            reserve = [arrays[0].new_empty(size, dtype=torch.uint8)]
        address = reserve[0].data_ptr() if training else 0
        to = _by_name(LSTM, names, states)
        calls.append(_together.forward_call(problem, _addresses(arrays), to, address))
        results.append([*states, *reserve])
        kept_alive.append(arrays)
        hidden_states = dict(zip(names, states, strict=True)).get("hidden_states")
    _together.forward(calls)
    return results


def backward_together(several: Sequence[Sequence[Any]], *, stack: bool) -> list[list[Array]]:
    """The kernel of `lstm_backward` for several in one call of the core.

    A stack comes from the top, and what arrives at the hidden states of each but the first is the
    gradient of x of the one before.
    """
    prepared: list[tuple[list[Array], tuple[Any, ...], Any]] = []
    for *first, d_states, wanted in several:
        arriving = list(d_states)
        if stack and prepared:
            arriving[first[LSTM.inputs + 1].index("hidden_states")] = prepared[-1][0][0]
        prepared.append(_prepare_backward(LSTM, *first, arriving, wanted))
    _together.backward([_together.backward_call(*given) for _, given, _ in prepared])
    return [results for results, _, _ in prepared]


def backward(of: Operators, *arguments: Any) -> list[Array]:
    """The kernel of `of.backward`."""
    results, given, _arrays = _prepare_backward(of, *arguments)
    of.cell.core.backward_at(*given)
    return results


def _prepare_backward(of: Operators, *arguments: Any) -> tuple[list[Array], tuple[Any, ...], Any]:
    """The gradients to write, what the core is told, and the arrays that must live meanwhile."""
    *first, hidden_states, reserve, d_states, wanted = arguments
    names = first[-1]
    arrays, problem = _read(of, first)
    dtype = arrays[0].dtype
    hidden_states, reserve, *d_states = _dense((hidden_states, reserve, *d_states))
    _expect(hidden_states, "hidden_states", problem.state_shape("hidden_states"), dtype)
    _expect(reserve, "reserve", (of.cell.core.reserve_bytes(problem),), torch.uint8)
    for name, d in zip(names, d_states, strict=True):
        if d is not None:
            _expect(d, f"d_{name}", problem.state_shape(name), dtype)
    inputs = dict(zip(of.cell.inputs, arrays, strict=True))
    results = {
        name: torch.empty_like(inputs[name], memory_format=torch.contiguous_format)
        for name in wanted
    }
    given = (
        problem,
        _addresses(arrays),
        hidden_states.data_ptr(),
        reserve.data_ptr(),
        _by_name(of, names, d_states),
        _addresses(map(results.get, of.cell.differentiable)),
    )
    return list(results.values()), given, (arrays, hidden_states, reserve, d_states)


def _read(of: Operators, arguments: Sequence[Any]) -> tuple[list[Any], Any]:
    """The arrays, dense, and what they are to the core."""
    arrays = _dense(arguments[: of.inputs])
    signature = tuple([None if a is None else (a.shape, a.dtype) for a in arrays])
    threads = _library.threads_beside(torch.get_num_threads())
    return arrays, of.problem(signature, arguments[of.inputs], threads)


def _dense(arrays: Iterable[Array | None]) -> list[Any]:
    return [None if a is None else a.contiguous() for a in arrays]


def _addresses(arrays: Iterable[Array | None]) -> list[int]:
    return [0 if a is None else a.data_ptr() for a in arrays]


def _by_name(of: Operators, names: Sequence[str], states: Sequence[Array | None]) -> list[int]:
    found = dict(zip(names, states, strict=True))
    return _addresses(map(found.get, of.cell.states))


def kept(names: Sequence[str]) -> Sequence[str]:
    """What `training` is to return where these are wanted."""
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
    hidden, units = given["recurrent_kernel"][0][0], given["recurrent_kernel"][0][1] // 4
    scale = given["gate_scale"]
    layer_norm = 0 if scale is None else len(scale[0])
    projected = given["projection_kernel"] is not None
    state = torch.float32 if dtype is torch.bfloat16 else dtype
    expected = {
        "kernel": ((features, 4 * units), dtype),
        "recurrent_kernel": ((hidden if projected else units, 4 * units), dtype),
        "bias": ((4 * units,), dtype),
        "hidden_state": ((batch, hidden), dtype),
        "cell_state": ((batch, units), state),
        "mask": ((batch, time_steps), torch.bool),
        "resets": ((batch, time_steps), torch.uint8),
        "peephole": ((3 * units,), dtype),
        "hidden_zoneout": ((batch, time_steps, hidden), torch.bool),
        "cell_zoneout": ((batch, time_steps, units), torch.bool),
        "output_kernel": ((units, units), dtype),
        "output_bias": ((units,), dtype),
        "projection_kernel": ((units, hidden), dtype),
        "gate_scale": ((2, 4 * units) if layer_norm == 2 else (4 * units,), dtype),
        "cell_scale": ((units,), dtype),
        "cell_shift": ((units,), dtype),
    }
    for name, (shape, wanted) in expected.items():
        if given[name] is not None:
            check(given[name], name, shape, wanted)
    return Problem(
        dtype=DTYPES[dtype],
        batch=batch,
        time_steps=time_steps,
        features=features,
        units=units,
        options=options(text),
        dropout_masks=masks(given, "dropout_mask", (batch, features), dtype),
        recurrent_dropout_masks=masks(given, "recurrent_dropout_mask", (batch, hidden), dtype),
        threads=threads,
        layer_norm=layer_norm,
        cell_norm=given["cell_scale"] is not None,
        output_transform=given["output_kernel"] is not None,
        projection=hidden if projected else 0,
    )


def masks(
    given: dict[str, Any], name: str, shape: tuple[int, int], dtype: Any, gates: int = 4
) -> int:
    """How many there are: one, or one for each gate."""
    if given[name] is None:
        return 0
    shared = len(given[name][0]) == 2
    check(given[name], name, shape if shared else (gates, *shape), dtype)
    return 1 if shared else gates


def _expect(array: Array, name: str, shape: tuple[int, ...], dtype: Any) -> None:
    check((array.shape, array.dtype), name, shape, dtype)


def check(got: tuple[Any, Any], name: str, shape: tuple[int, ...], dtype: Any) -> None:
    """Refuse an array that is not of this shape and dtype."""
    if got != (shape, dtype):
        raise ConveyorError(
            f"torch.ops.conveyor expects {name} of shape {shape} in {dtype}; got shape "
            f"{tuple(got[0])} in {got[1]}.\nCall conveyor.ops.lstm or conveyor.ops.gru, which do "
            "it for you."
        )


def _fake_forward(of: Operators, *arguments: Any) -> list[Array]:
    x, recurrent_kernel, names = arguments[0], arguments[2], arguments[-1]
    batch, time_steps, _ = x.shape
    sizes = [of.cell.state_size(name, recurrent_kernel) for name in names]
    return [
        x.new_empty((batch, time_steps, size) if has_time_axis(name) else (batch, size))
        for name, size in zip(names, sizes, strict=True)
    ]


def _fake_training(of: Operators, *arguments: Any) -> list[Array]:
    cell, x, recurrent_kernel = of.cell, arguments[0], arguments[2]
    # The size is so much for each step; a symbolic batch or time axis stays symbolic.
    units = int(cell.state_size("candidates", recurrent_kernel))
    beyond = cell.beyond(dict(zip(cell.inputs, arguments, strict=False)))
    one = cell.core.Problem(DTYPES[x.dtype], 1, 1, 1, units, **beyond)
    size = x.shape[0] * x.shape[1] * cell.core.reserve_bytes(one)
    return [*_fake_forward(of, *arguments), x.new_empty(size, dtype=torch.uint8)]


def _fake_backward(of: Operators, *arguments: Any) -> list[Array]:
    inputs = dict(zip(of.cell.inputs, arguments, strict=False))
    return [inputs[name].new_empty(inputs[name].shape) for name in arguments[-1]]


def define(
    name: str, cell: Cell, arguments: str, problem: Callable[[tuple[Any, ...], str, int], Any]
) -> Operators:
    """Those of a cell, whose arguments are its inputs, its options and the names of states."""
    library.define(f"{name}({arguments}) -> Tensor[]")
    library.define(f"{name}_training({arguments}) -> Tensor[]")
    library.define(
        f"{name}_backward({arguments}, Tensor hidden_states, Tensor reserve, "
        "Tensor?[] d_states, str[] wanted) -> Tensor[]"
    )
    names = (name, f"{name}_training", f"{name}_backward")
    of = Operators(
        cell, problem, *(getattr(torch.ops.conveyor, operator).default for operator in names)
    )
    kernels = (forward, forward_training, backward)
    fakes = (partial(_fake_forward, of), partial(_fake_training, of), partial(_fake_backward, of))
    for operator, kernel, fake in zip(names, kernels, fakes, strict=True):
        library.impl(operator, partial(kernel, of), "CPU")
        torch.library.register_fake(f"conveyor::{operator}", fake, lib=library)
    return of


LSTM = define("lstm", _cells.LSTM, _ARGUMENTS, _problem)
lstm = LSTM.forward
