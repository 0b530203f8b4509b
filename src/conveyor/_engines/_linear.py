"""The output layer of `native/include/conveyor/linear.h`, in Python; a test compares the two."""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import Structure, c_float, c_int32, c_int64, c_size_t, c_void_p, sizeof
from dataclasses import dataclass
from struct import Struct
from typing import NoReturn

from . import _layout, _library, _signals


class Linear(Structure):
    """What both functions are told."""

    _fields_ = (
        ("size", c_size_t),
        ("dtype", c_int32),
        ("threads", c_int32),
        ("rows", c_int64),
        ("features", c_int64),
        ("classes", c_int64),
        ("x", c_void_p),
        ("kernel", c_void_p),
        ("bias", c_void_p),
        ("interrupted", c_void_p),
    )


class CrossEntropy(Structure):
    """Where cross entropies and gradients are written."""

    _fields_ = (
        ("size", c_size_t),
        ("labels", c_void_p),
        ("ignored", c_int32),
        ("label_smoothing", c_float),
        ("losses", c_void_p),
        ("cross_entropies", c_void_p),
        ("d_x", c_void_p),
        ("d_kernel", c_void_p),
        ("d_bias", c_void_p),
    )


class TopK(Structure):
    """Where the largest logits are written."""

    _fields_ = (
        ("size", c_size_t),
        ("k", c_int64),
        ("values", c_void_p),
        ("indices", c_void_p),
        ("totals", c_void_p),
    )


_LINEAR, _CROSS_ENTROPY, _TOP_K = Struct("N2i3q4P"), Struct("NPif5P"), Struct("Nq3P")
DTYPES = ("float32", "bfloat16")
IGNORE_NONE = -(2**31)  # no label


@dataclass(frozen=True)
class Problem:
    """All that the core is told of the layer but the addresses."""

    dtype: str
    rows: int
    features: int
    classes: int
    threads: int = 0


def cross_entropy(
    problem: Problem,
    x: int,
    kernel: int,
    bias: int,
    labels: int,
    label_smoothing: float,
    ignored: int,
    results: Sequence[int],
) -> None:
    """Write what `results` has addresses for: losses, cross entropies, gradients (0 for none).

    Raises:
        MemoryError: no memory for the workspace.
        KeyboardInterrupt: Ctrl-C came meanwhile.
        ConveyorError: a label beyond the classes.
    """
    size = sizeof(CrossEntropy)
    packed = _CROSS_ENTROPY.pack(size, labels, ignored, label_smoothing, *results)
    _run("conveyor_linear_cross_entropy", problem, (x, kernel, bias), packed)


def top_k(problem: Problem, x: int, kernel: int, bias: int, k: int, results: Sequence[int]) -> None:
    """Write values, indices and the logs of the sums of exponentials."""
    _run(
        "conveyor_linear_top_k", problem, (x, kernel, bias), _TOP_K.pack(sizeof(TopK), k, *results)
    )


def _run(function: str, problem: Problem, inputs: tuple[int, int, int], packed: bytes) -> None:
    p = problem
    core = _library._core()
    watch = _signals.watch()
    linear = _LINEAR.pack(
        sizeof(Linear),
        _layout.DTYPES[p.dtype],
        p.threads,
        p.rows,
        p.features,
        p.classes,
        *inputs,
        0 if watch is None else watch.address,
    )
    status = getattr(core, function)(linear, packed)
    if watch is not None:
        watch.settle()
    if status:
        _refuse(status, p)


def _refuse(status: int, p: Problem) -> NoReturn:
    if status == _layout.OUT_OF_MEMORY:
        raise MemoryError(f"no memory for {p.rows} rows of logits over {p.classes} classes")
    raise _library.refusal()
