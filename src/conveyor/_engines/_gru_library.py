"""The GRU of the native core through ctypes: `native/include/conveyor/gru.h`, in Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ctypes import Structure, c_char_p, c_double, c_int32, c_int64, c_size_t, c_void_p, sizeof
from dataclasses import dataclass
from functools import lru_cache
from struct import Struct, unpack

from .._vocabulary import GRU_STATE_NAMES, has_time_axis
from . import _layout, _library, _signals
from ._activations import code
from ._gru_options import GRUOptions
from ._library import DTYPES

INPUTS = (
    "x",
    "kernel",
    "recurrent_kernel",
    "bias",
    "hidden_state",
    "mask",
    "dropout_mask",
    "recurrent_dropout_mask",
    "resets",
)
# Those that have a gradient, in the order in which the core writes them.
DIFFERENTIABLE = tuple(name for name in INPUTS if name not in ("mask", "resets"))
# Those that all rows of the batch share.
WEIGHTS = ("kernel", "recurrent_kernel", "bias")
# Of the two functions, in the order of alpha and beta.
_FUNCTIONS = ("activation", "recurrent_activation")

_ADDRESSES = Struct(f"{len(INPUTS) + 1}P").pack  # and `interrupted`
States = c_void_p * len(GRU_STATE_NAMES)
PLAIN_OPTIONS = GRUOptions()


class GRU(Structure):
    """What both directions are told."""

    _fields_ = (
        ("size", c_size_t),
        ("dtype", c_int32),
        ("activation", c_int32),
        ("recurrent_activation", c_int32),
        ("reset_after", c_int32),
        ("go_backwards", c_int32),
        ("dropout_masks", c_int32),
        ("recurrent_dropout_masks", c_int32),
        ("threads", c_int32),
        ("alpha", c_double * len(_FUNCTIONS)),
        ("beta", c_double * len(_FUNCTIONS)),
        ("batch", c_int64),
        ("time_steps", c_int64),
        ("features", c_int64),
        ("units", c_int64),
        *((name, c_void_p) for name in INPUTS),
        ("interrupted", c_void_p),
    )


class Outputs(Structure):
    """Where the forward pass writes."""

    _fields_ = (("size", c_size_t), ("states", States), ("reserve", c_void_p))


class Gradients(Structure):
    """What the backward pass reads and where it writes."""

    _fields_ = (
        ("size", c_size_t),
        ("hidden_states", c_void_p),
        ("reserve", c_void_p),
        ("d_states", States),
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
    options: GRUOptions = PLAIN_OPTIONS
    dropout_masks: int = 0  # 0 none, 1 shared by the gates, 3 one for each gate
    recurrent_dropout_masks: int = 0
    threads: int = 0  # at most so many; 0 for CONVEYOR_NUM_THREADS, else all cores

    def state_shape(self, name: str) -> tuple[int, ...]:
        """Of one of the five states."""
        steps = (self.time_steps,) if has_time_axis(name) else ()
        return (self.batch, *steps, self.units)


def missing() -> str | None:
    """Why a native core that is there has no GRU."""
    if hasattr(_library._core(), "conveyor_gru_forward"):
        return None
    return "a GRU: it was built before it had one; install conveyor again"


@lru_cache(maxsize=1024)
def reserve_bytes(problem: Problem) -> int:
    """The size of what the forward pass keeps for the backward pass.

    Raises:
        MemoryError: a size that does not fit an address.
    """
    p = problem
    count = _library._core().conveyor_gru_reserve_bytes
    count.argtypes, count.restype = [c_int32, c_int64, c_int64, c_int64], c_int64
    size = int(count(DTYPES[p.dtype], p.batch, p.time_steps, p.units))
    if size < 0:
        raise MemoryError(f"{p.batch} x {p.time_steps} x {p.units} states do not fit an address")
    return size


def forward(
    problem: Problem,
    inputs: Mapping[str, int],
    states: Mapping[str, int],
    reserve: int = 0,
) -> None:
    """Write the states whose addresses are given, and the reserve where it has one.

    Raises:
        MemoryError: no memory for the workspace.
        KeyboardInterrupt: Ctrl-C came meanwhile.
    """
    forward_at(problem, _in_order(INPUTS, inputs), _in_order(GRU_STATE_NAMES, states), reserve)


def forward_at(
    problem: Problem, inputs: Sequence[int], states: Sequence[int], reserve: int = 0
) -> None:
    """`forward`, with addresses in the order of INPUTS and of GRU_STATE_NAMES, 0 for none."""
    _run("conveyor_gru_forward", problem, inputs, _packed(Outputs, [*states, reserve]))


def backward(
    problem: Problem,
    inputs: Mapping[str, int],
    hidden_states: int,
    reserve: int,
    d_states: Mapping[str, int],
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
        _in_order(GRU_STATE_NAMES, d_states),
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
    """`backward`, with addresses in the order of INPUTS, GRU_STATE_NAMES and DIFFERENTIABLE."""
    addresses = [hidden_states, reserve, *d_states, *d_inputs]
    _run("conveyor_gru_backward", problem, inputs, _packed(Gradients, addresses))


def _in_order(names: Sequence[str], addresses: Mapping[str, int]) -> list[int]:
    return [addresses.get(name) or 0 for name in names]


def _packed(kind: type[Structure], addresses: Sequence[int]) -> bytes:
    # Setting the fields of a Structure takes longer than a short GRU.
    return Struct(f"N{len(addresses)}P").pack(sizeof(kind), *addresses)


def _run(name: str, problem: Problem, inputs: Sequence[int], results: bytes) -> None:
    function = getattr(_library._core(), name)
    function.argtypes = [c_char_p, c_char_p]
    watch = _signals.watch()
    interrupted = 0 if watch is None else watch.address
    status = function(pack_gru(problem, inputs, interrupted), results)
    if watch is not None:
        watch.settle()
    if status == _layout.OUT_OF_MEMORY:
        p = problem
        raise MemoryError(
            f"no memory for a GRU over {p.batch} x {p.time_steps} steps with {p.units} units"
        )
    if status:
        raise _library.refusal()


def pack_gru(problem: Problem, inputs: Sequence[int], interrupted: int) -> bytes:
    """A `conveyor_gru`: the problem, and the addresses in the order of INPUTS."""
    return _packed_problem(problem) + _ADDRESSES(*inputs, interrupted)


def numbers(problem: Problem) -> tuple[int, ...]:
    """What stands before the addresses, as 64-bit integers: for the operators of frameworks."""
    packed = _packed_problem(problem)
    return unpack(f"{len(packed) // 8}q", packed)


@lru_cache(maxsize=1024)
def _packed_problem(problem: Problem) -> bytes:
    p, o = problem, problem.options
    codes = {name: code(getattr(o, name)) for name in _FUNCTIONS}
    gru = GRU(
        size=sizeof(GRU),
        dtype=DTYPES[p.dtype],
        **{name: its.kind for name, its in codes.items()},
        alpha=tuple(its.alpha for its in codes.values()),
        beta=tuple(its.beta for its in codes.values()),
        reset_after=o.reset_after,
        go_backwards=o.go_backwards,
        dropout_masks=p.dropout_masks,
        recurrent_dropout_masks=p.recurrent_dropout_masks,
        threads=p.threads,
        batch=p.batch,
        time_steps=p.time_steps,
        features=p.features,
        units=p.units,
    )
    return bytes(gru)[: GRU.x.offset]
