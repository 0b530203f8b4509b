"""The native core through ctypes: `native/include/conveyor/lstm.h`, in Python.

The core knows no framework and no Python, so one build serves every Python and every
version of every framework. Arrays go in and out as addresses; a glue file owns them.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Mapping
from ctypes import POINTER, Structure, byref, c_char_p, c_int, c_int32, c_int64, c_size_t, c_void_p
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from .._errors import ConveyorError
from .._vocabulary import STATE_NAMES, StateName

ABI = 1
DTYPES = {"float32": 0, "float64": 1, "bfloat16": 2}
ACTIVATIONS = {"tanh": 0, "sigmoid": 1, "hard_sigmoid": 2, "relu": 3, "linear": 4}
INPUTS = (
    "x",
    "kernel",
    "recurrent_kernel",
    "bias",
    "hidden_state",
    "cell_state",
    "mask",
    "dropout_mask",
    "recurrent_dropout_mask",
)
# Those that have a gradient, in the order in which the core writes them.
DIFFERENTIABLE = tuple(name for name in INPUTS if name != "mask")

_OK, _INVALID, _OUT_OF_MEMORY, _INTERRUPTED = range(4)
_Interrupted = ctypes.CFUNCTYPE(c_int)
_States = c_void_p * len(STATE_NAMES)


class _LSTM(Structure):
    _fields_ = (
        ("size", c_size_t),
        ("dtype", c_int32),
        ("activation", c_int32),
        ("recurrent_activation", c_int32),
        ("go_backwards", c_int32),
        ("dropout_masks", c_int32),
        ("recurrent_dropout_masks", c_int32),
        ("threads", c_int32),
        ("reserved", c_int32),
        ("batch", c_int64),
        ("time_steps", c_int64),
        ("features", c_int64),
        ("units", c_int64),
        *((name, c_void_p) for name in INPUTS),
        ("interrupted", c_void_p),
    )


class _Outputs(Structure):
    _fields_ = (("size", c_size_t), ("states", _States), ("reserve", c_void_p))


class _Gradients(Structure):
    _fields_ = (
        ("size", c_size_t),
        ("hidden_states", c_void_p),
        ("reserve", c_void_p),
        ("d_states", _States),
        *((f"d_{name}", c_void_p) for name in DIFFERENTIABLE),
    )


@dataclass(frozen=True)
class Problem:
    """All that the core is told but the addresses."""

    dtype: str
    batch: int
    time_steps: int
    features: int
    units: int
    activation: str = "tanh"
    recurrent_activation: str = "sigmoid"
    go_backwards: bool = False
    dropout_masks: int = 0  # 0 none, 1 shared by the gates, 4 one for each gate
    recurrent_dropout_masks: int = 0
    threads: int = 0  # at most so many; 0 for CONVEYOR_NUM_THREADS, else all cores

    @property
    def state_dtype(self) -> str:
        """Of the cell state before the first step, and of its gradient."""
        return "float32" if self.dtype == "bfloat16" else self.dtype


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


def reserve_bytes(problem: Problem) -> int:
    """The size of what the forward pass keeps for the backward pass."""
    p = problem
    size = int(
        _core().conveyor_lstm_reserve_bytes(DTYPES[p.dtype], p.batch, p.time_steps, p.units)
    )
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
    outputs = _Outputs(ctypes.sizeof(_Outputs), _addresses(states), reserve)
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
    gradients = _Gradients(ctypes.sizeof(_Gradients), hidden_states, reserve, _addresses(d_states))
    for name, address in d_inputs.items():
        setattr(gradients, f"d_{name}", address)
    _run(_core().conveyor_lstm_backward, problem, inputs, gradients)


def _addresses(states: Mapping[StateName, int]) -> ctypes.Array[c_void_p]:
    return _States(*(states.get(name) for name in STATE_NAMES))


def _run(
    function: ctypes._NamedFuncPointer,
    problem: Problem,
    inputs: Mapping[str, int | None],
    results: _Outputs | _Gradients,
) -> None:
    p = problem
    pending: list[BaseException] = []

    def interrupted() -> int:
        # Signals are handled where the interpreter runs next, and that is here.
        return 1 if pending else 0

    callback = _Interrupted(interrupted)
    lstm = _LSTM(
        ctypes.sizeof(_LSTM),
        DTYPES[p.dtype],
        ACTIVATIONS[p.activation],
        ACTIVATIONS[p.recurrent_activation],
        p.go_backwards,
        p.dropout_masks,
        p.recurrent_dropout_masks,
        p.threads,
        0,
        p.batch,
        p.time_steps,
        p.features,
        p.units,
        *(inputs.get(name) for name in INPUTS),
        ctypes.cast(callback, c_void_p),
    )
    status = function(byref(lstm), byref(results))
    if status == _OUT_OF_MEMORY:
        raise MemoryError(
            f"no memory for an LSTM over {p.batch} x {p.time_steps} steps with {p.units} units"
        )
    if status == _INTERRUPTED:
        raise KeyboardInterrupt
    if status == _INVALID:
        raise ConveyorError(f"the native engine refused: {_core().conveyor_error().decode()}")


def _core() -> ctypes.CDLL:
    loaded = _load()
    if isinstance(loaded, str):
        raise ConveyorError(f"the native engine is not there: {loaded}")
    return loaded


@cache
def _load() -> ctypes.CDLL | str:
    """The library, or why there is none."""
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
    _declare(core)
    if core.conveyor_abi() != ABI:
        return f"{found[0].name} is of another version; install conveyor again"
    return _configure(core)


def _declare(core: ctypes.CDLL) -> None:
    core.conveyor_lstm_forward.argtypes = [POINTER(_LSTM), POINTER(_Outputs)]
    core.conveyor_lstm_backward.argtypes = [POINTER(_LSTM), POINTER(_Gradients)]
    core.conveyor_lstm_reserve_bytes.argtypes = [c_int32, c_int64, c_int64, c_int64]
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
            return f"CONVEYOR_TARGET={wanted} is none of {', '.join(names)}"
        lacks = core.conveyor_target_missing(names.index(wanted)).decode()
        if lacks:
            return f"CONVEYOR_TARGET={wanted}: {lacks}"
        core.conveyor_set_target(names.index(wanted))
    number = os.environ.get("CONVEYOR_NUM_THREADS")
    if number:
        if not number.isdecimal() or int(number) < 1:
            return f"CONVEYOR_NUM_THREADS={number} is no number of threads"
        core.conveyor_set_threads(int(number))
    return core
