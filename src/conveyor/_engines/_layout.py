"""The structs of `native/include/conveyor/lstm.h` in Python; a test compares the two."""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import Structure, c_double, c_int32, c_int64, c_size_t, c_void_p, sizeof
from dataclasses import dataclass
from functools import lru_cache
from struct import Struct, unpack

from .._vocabulary import STATE_NAMES, StateName, has_time_axis
from ._activations import code
from ._options import Options

ABI = 6
DTYPES = {"float32": 0, "float64": 1, "bfloat16": 2}
STATUSES = ("ok", "invalid", "out_of_memory", "interrupted")
OUT_OF_MEMORY = STATUSES.index("out_of_memory")
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
    "resets",
    "peephole",
    "hidden_zoneout",
    "cell_zoneout",
    "output_kernel",
    "output_bias",
    "projection_kernel",
    "gate_scale",
    "cell_scale",
    "cell_shift",
)
# Those that have a gradient, in the order in which the core writes them.
_CHOICES = ("mask", "resets", "hidden_zoneout", "cell_zoneout")
DIFFERENTIABLE = tuple(name for name in INPUTS if name not in _CHOICES)
# Those that all rows of the batch share.
WEIGHTS = (
    "kernel",
    "recurrent_kernel",
    "bias",
    "peephole",
    "output_kernel",
    "output_bias",
    "projection_kernel",
    "gate_scale",
    "cell_scale",
    "cell_shift",
)
# Of the three functions, in the order of alpha and beta.
_FUNCTIONS = ("activation", "recurrent_activation", "output_activation")

States = c_void_p * len(STATE_NAMES)
PLAIN_OPTIONS = Options()


class LSTM(Structure):
    """What both directions are told."""

    _fields_ = (
        ("size", c_size_t),
        ("dtype", c_int32),
        ("activation", c_int32),
        ("recurrent_activation", c_int32),
        ("go_backwards", c_int32),
        ("dropout_masks", c_int32),
        ("recurrent_dropout_masks", c_int32),
        ("threads", c_int32),
        ("output_activation", c_int32),
        ("coupled", c_int32),
        ("layer_norm", c_int32),
        ("cell_norm", c_int32),
        ("output_transform", c_int32),
        ("alpha", c_double * len(_FUNCTIONS)),
        ("beta", c_double * len(_FUNCTIONS)),
        ("clip", c_double),
        ("cell_clip", c_double),
        ("hidden_part", c_double),
        ("cell_part", c_double),
        ("batch", c_int64),
        ("time_steps", c_int64),
        ("features", c_int64),
        ("units", c_int64),
        ("projection", c_int64),
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
    options: Options = PLAIN_OPTIONS
    dropout_masks: int = 0  # 0 none, 1 shared by the gates, 4 one for each gate
    recurrent_dropout_masks: int = 0
    threads: int = 0  # at most so many; 0 for CONVEYOR_NUM_THREADS, else all cores
    layer_norm: int = 0  # 0 none, 1 each gate by itself, 2 x W and h' R by themselves
    cell_norm: bool = False
    output_transform: bool = False
    projection: int = 0  # H, or 0 for none

    @property
    def hidden_size(self) -> int:
        """H."""
        return self.projection or self.units

    def state_shape(self, name: StateName) -> tuple[int, ...]:
        """Of one of the eight states."""
        size = self.hidden_size if name.startswith("hidden") else self.units
        steps = (self.time_steps,) if has_time_axis(name) else ()
        return (self.batch, *steps, size)

    @property
    def state_dtype(self) -> str:
        """Of the cell state before the first step, and of its gradient."""
        return "float32" if self.dtype == "bfloat16" else self.dtype


# Setting twenty fields of a Structure takes longer than a short LSTM: 7 us. Bytes take 1 us.
# So what a Problem says is packed once, and each call puts the addresses behind it.
_ADDRESSES = Struct(f"{len(INPUTS) + 1}P").pack  # and `interrupted`
pack_outputs = Struct(f"N{len(STATE_NAMES) + 1}P").pack
pack_gradients = Struct(f"N{2 + len(STATE_NAMES) + len(DIFFERENTIABLE)}P").pack
SIZE_OF_OUTPUTS = sizeof(Outputs)
SIZE_OF_GRADIENTS = sizeof(Gradients)


def pack_lstm(problem: Problem, inputs: Sequence[int], interrupted: int) -> bytes:
    """A `conveyor_lstm`: the problem, and the addresses in the order of INPUTS."""
    return _packed_problem(problem) + _ADDRESSES(*inputs, interrupted)


def numbers(problem: Problem) -> tuple[int, ...]:
    """What stands before the addresses, as 64-bit integers: for the operators of frameworks."""
    packed = _packed_problem(problem)
    return unpack(f"{len(packed) // 8}q", packed)


@lru_cache(maxsize=1024)
def _packed_problem(problem: Problem) -> bytes:
    p, o, v = problem, problem.options, problem.options.variant
    codes = {name: code(getattr(o, name)) for name in _FUNCTIONS}
    lstm = LSTM(
        size=sizeof(LSTM),
        dtype=DTYPES[p.dtype],
        **{name: its.kind for name, its in codes.items()},
        alpha=tuple(its.alpha for its in codes.values()),
        beta=tuple(its.beta for its in codes.values()),
        clip=v.clip,
        cell_clip=v.cell_clip,
        hidden_part=v.hidden_zoneout,
        cell_part=v.cell_zoneout,
        coupled=v.coupled,
        layer_norm=p.layer_norm,
        cell_norm=p.cell_norm,
        output_transform=p.output_transform,
        go_backwards=o.go_backwards,
        dropout_masks=p.dropout_masks,
        recurrent_dropout_masks=p.recurrent_dropout_masks,
        threads=p.threads,
        batch=p.batch,
        time_steps=p.time_steps,
        features=p.features,
        units=p.units,
        projection=p.projection,
    )
    return bytes(lstm)[: LSTM.x.offset]
