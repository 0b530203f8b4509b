"""The native core through ctypes: `native/include/conveyor/lstm.h`, in Python.

The core knows no framework and no Python, so one build serves every Python and every
version of every framework. Arrays go in and out as addresses; a glue file owns them.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Mapping, Sequence
from ctypes import POINTER, c_char_p, c_int32, c_int64, c_void_p
from functools import lru_cache
from pathlib import Path
from typing import Any, NoReturn

from .._errors import ConveyorError
from .._vocabulary import STATE_NAMES, StateName
from . import _layout, _signals
from ._layout import ABI
from ._layout import DIFFERENTIABLE as DIFFERENTIABLE
from ._layout import DTYPES as DTYPES
from ._layout import INPUTS as INPUTS
from ._layout import WEIGHTS as WEIGHTS
from ._layout import Problem as Problem
from ._layout import numbers as numbers


def missing() -> str | None:
    """Why the native core cannot be used here, or None where it can."""
    loaded = _load()
    return loaded if isinstance(loaded, str) else None


def targets() -> dict[str, str]:
    """The instruction sets of the core, slowest first, and what each lacks here ("" if nothing)."""
    core = _core()
    names = range(core.conveyor_target_count())
    return {
        core.conveyor_target_name(n).decode(): core.conveyor_target_missing(n).decode()
        for n in names
    }


def target() -> str:
    """The instruction set in use."""
    core = _core()
    name: bytes = core.conveyor_target_name(core.conveyor_target())
    return name.decode()


def threads() -> int:
    """The number of threads that a call gets where nothing else is said."""
    return int(_core().conveyor_threads())


def threads_beside(framework: int) -> int:
    """`Problem.threads` where the framework is set to so many: CONVEYOR_NUM_THREADS goes first."""
    return 0 if _number_of_threads is not None else framework


_OPENMP = ("GOMP_parallel", "omp_get_thread_num", "omp_get_num_threads", "omp_get_max_threads")


def use_openmp(runtime: ctypes.CDLL) -> bool:
    """Compute on the threads of this OpenMP runtime; whether it is one."""
    if missing() is not None:
        return False
    if not all(hasattr(runtime, name) for name in _OPENMP):
        return False
    addresses = [ctypes.cast(getattr(runtime, name), c_void_p).value for name in _OPENMP]
    size = (1 + len(addresses)) * ctypes.sizeof(c_void_p)
    return bool(_core().conveyor_use_openmp((c_void_p * 5)(size, *addresses)) == 0)


@lru_cache(maxsize=1024)
def reserve_bytes(problem: Problem) -> int:
    """The size of what the forward pass keeps for the backward pass.

    Raises:
        MemoryError: a size that does not fit an address.
    """
    p = problem
    nothing = _layout.pack_lstm(p, [0] * len(INPUTS), 0)
    size = int(_core().conveyor_lstm_reserve_bytes(nothing))
    if size < 0:
        raise MemoryError(f"{p.batch} x {p.time_steps} x {p.units} states do not fit an address")
    return size


def forward(
    problem: Problem,
    inputs: Mapping[str, int | None],
    states: Mapping[StateName, int],
    reserve: int | None = None,
) -> None:
    """Write the states whose addresses are given, and the reserve where it has one.

    Raises:
        MemoryError: no memory for the workspace.
        KeyboardInterrupt: Ctrl-C came meanwhile.
    """
    forward_at(problem, _in_order(INPUTS, inputs), _in_order(STATE_NAMES, states), reserve or 0)


def forward_at(
    problem: Problem, inputs: Sequence[int], states: Sequence[int], reserve: int = 0
) -> None:
    """`forward`, with addresses in the order of INPUTS and of STATE_NAMES, 0 for none."""
    outputs = _layout.pack_outputs(_layout.SIZE_OF_OUTPUTS, *states, reserve)
    _run(_core().conveyor_lstm_forward, problem, inputs, outputs)


def backward(
    problem: Problem,
    inputs: Mapping[str, int | None],
    hidden_states: int,
    reserve: int,
    d_states: Mapping[StateName, int],
    d_inputs: Mapping[str, int],
) -> None:
    """Write the gradients of the inputs that `d_inputs` has addresses for.

    Raises:
        MemoryError: no memory for the workspace.
        KeyboardInterrupt: Ctrl-C came meanwhile.
    """
    backward_at(
        problem,
        _in_order(INPUTS, inputs),
        hidden_states,
        reserve,
        _in_order(STATE_NAMES, d_states),
        _in_order(DIFFERENTIABLE, d_inputs),
    )


def backward_at(
    problem: Problem,
    inputs: Sequence[int],
    hidden_states: int,
    reserve: int,
    d_states: Sequence[int],
    d_inputs: Sequence[int],
) -> None:
    """`backward`, with addresses in the order of INPUTS, STATE_NAMES and DIFFERENTIABLE."""
    gradients = _layout.pack_gradients(
        _layout.SIZE_OF_GRADIENTS, hidden_states, reserve, *d_states, *d_inputs
    )
    _run(_core().conveyor_lstm_backward, problem, inputs, gradients)


def _in_order(names: Sequence[str], addresses: Mapping[Any, int | None]) -> list[int]:
    return [addresses.get(name) or 0 for name in names]


def _run(
    function: ctypes._NamedFuncPointer, problem: Problem, inputs: Sequence[int], results: bytes
) -> None:
    watch = _signals.watch()
    lstm = _layout.pack_lstm(problem, inputs, 0 if watch is None else watch.address)
    status = function(lstm, results)
    if watch is not None:
        watch.settle()
    if status:
        refuse(status, problem)


def refuse(status: int, problem: Problem) -> NoReturn:
    """Raise what a status other than 0 stands for."""
    p = problem
    if status == _layout.OUT_OF_MEMORY:
        raise MemoryError(
            f"no memory for an LSTM over {p.batch} x {p.time_steps} steps with {p.units} units"
        )
    raise refusal()


def refusal() -> ConveyorError:
    """Why the last call of this thread was invalid."""
    return ConveyorError(f"the native engine refused: {_core().conveyor_error().decode()}")


def _core() -> ctypes.CDLL:
    loaded = _load()
    if isinstance(loaded, str):
        raise ConveyorError(f"the native engine is not there: {loaded}")
    return loaded


_loaded: ctypes.CDLL | str | None = None
_number_of_threads: int | None = None  # that CONVEYOR_NUM_THREADS asks for


def _load() -> ctypes.CDLL | str:
    """The library, or why there is none."""
    # Not functools.cache: torch.compile looks through it, and would load once more.
    global _loaded  # noqa: PLW0603
    if _loaded is None:
        _loaded = _find_and_load()
    return _loaded


def _find_and_load() -> ctypes.CDLL | str:
    name = {"darwin": "libconveyor.dylib", "win32": "conveyor.dll"}.get(
        sys.platform, "libconveyor.so"
    )
    folders = sys.modules[__package__].__path__
    found = [Path(folder, name) for folder in folders if Path(folder, name).exists()]
    if not found:
        return (
            "it was not built when conveyor was installed; "
            "install a C++ compiler, then: pip install --force-reinstall conveyor"
        )
    try:
        core = ctypes.CDLL(str(found[0]))
    except OSError as error:
        return f"{found[0].name} does not load: {error}"
    if core.conveyor_abi() != ABI:
        return f"{found[0].name} is of another version; install conveyor again"
    _declare(core)
    return _configure(core)


def _declare(core: ctypes.CDLL) -> None:
    core.conveyor_lstm_forward.argtypes = [c_char_p, c_char_p]  # structs, packed
    core.conveyor_lstm_backward.argtypes = [c_char_p, c_char_p]
    core.conveyor_lstm_forward_together.argtypes = [POINTER(c_char_p), POINTER(c_char_p), c_int32]
    core.conveyor_lstm_backward_together.argtypes = [POINTER(c_char_p), POINTER(c_char_p), c_int32]
    core.conveyor_linear_cross_entropy.argtypes = [c_char_p, c_char_p]
    core.conveyor_linear_top_k.argtypes = [c_char_p, c_char_p]
    core.conveyor_lstm_reserve_bytes.argtypes = [c_char_p]
    core.conveyor_lstm_reserve_bytes.restype = c_int64
    for function in (core.conveyor_target_name, core.conveyor_target_missing, core.conveyor_error):
        function.restype = c_char_p


def _configure(core: ctypes.CDLL) -> ctypes.CDLL | str:
    """Do what the environment asks for; the reason why that cannot be."""
    wanted = os.environ.get("CONVEYOR_TARGET")
    if wanted:
        count = core.conveyor_target_count()
        names = [core.conveyor_target_name(n).decode() for n in range(count)]
        if wanted not in names:
            return (
                f"CONVEYOR_TARGET={wanted} is none of {', '.join(names)}; "
                "write one of them, or leave it out for the fastest that runs here"
            )
        lacks = core.conveyor_target_missing(names.index(wanted)).decode()
        if lacks:
            return (
                f"CONVEYOR_TARGET={wanted}: {lacks}; "
                "leave it out for the fastest instruction set that runs here"
            )
        core.conveyor_set_target(names.index(wanted))
    global _number_of_threads  # noqa: PLW0603
    number = os.environ.get("CONVEYOR_NUM_THREADS")
    if number:
        if not number.isdecimal() or not 1 <= int(number) < 2**31:
            return (
                f"CONVEYOR_NUM_THREADS={number} is no number of threads; "
                "write a whole number from 1 on, or leave it out for all cores"
            )
        _number_of_threads = int(number)
        core.conveyor_set_threads(_number_of_threads)
    return core
