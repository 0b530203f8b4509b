"""`conveyor.check`: every path of a model on the same inputs, compared and timed."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import numpy as np
from rich.console import Console

from .._errors import ConveyorError, lesson
from ._padding import mask_against_unpadded
from ._paths import Path, as_it_is, float64, in_onnx_runtime, on_engine, streaming
from ._report import Check, CheckedPath
from ._subject import WHERE, Arrays, Subject, nothing_left_behind, subject_of

_TOLERANCE = 1e-5
_TOLERANCE_16_BITS = 0.05
# About so many seconds go into timing, in rounds in which each path has one turn.
_SECONDS = 1.0
_FEWEST_ROUNDS, _MOST_ROUNDS = 3, 21

_MODEL = "as it is"
_PATHS: dict[str, Callable[[Subject], Path]] = {
    _MODEL: as_it_is,
    "native engine": partial(on_engine, "native"),
    "portable engine": partial(on_engine, "portable"),
    "float64": float64,
    "mask against unpadded": mask_against_unpadded,
    "streaming": streaming,
    "ONNX Runtime": in_onnx_runtime,
}


def check(
    model: Any, x: Any = None, *, tolerance: float | None = None, verbose: bool = True
) -> Check:
    """Run a model on every path that exists for it; prints the largest differences and the times.

    | path | is compared with |
    |---|---|
    | as it is | nothing: the others are compared with it |
    | native engine, portable engine | the model: its LSTMs and GRUs on that engine |
    | float64 | their hidden and cell states, computed again in float64 from their inputs |
    | mask against unpadded | the same sequences, padded on the right and alone |
    | streaming | the model: `conveyor.Stream`, a step at a time |
    | ONNX Runtime | the model: what `conveyor.onnx.export` would write |

    A difference is the largest over all outputs; of values above 1, relative to the largest of
    their output. Whole models are compiled as the framework compiles functions (`jax.jit`,
    `tf.function`; PyTorch runs without gradients), and timed in turns, until the results are
    NumPy arrays; a time is a median. The model is as before afterwards: engines, states and
    weights, whatever happens.

    Args:
        model: a Keras model or layer with LSTMs or GRUs, Keras's or conveyor's.
        x: what it is called with, a few samples. None draws normal numbers, and token ids that
            its Embeddings know, for 4 sequences of 32 time steps where these are free.
        tolerance: how far a path may be away: 1e-5, and 0.05 where a layer computes in 16 bits.
        verbose: print the table.

    Returns:
        The table: `ok`, and `rows` with the values.

    Raises:
        ConveyorError: no model, no LSTM or GRU in it, or an `x` that does not fit.

    >>> import keras, conveyor
    >>> model = keras.Sequential([keras.Input((None, 3)), keras.layers.LSTM(4)])
    >>> found = conveyor.check(model, verbose=False)
    >>> found.ok, found.rows[2].path, found.rows[2].difference < 1e-6
    (True, 'portable engine', True)
    """
    if tolerance is not None and not tolerance > 0:
        raise lesson(WHERE, "a tolerance above 0", repr(tolerance), "Write tolerance=1e-5.")
    subject = subject_of(model, x)
    limit = tolerance if tolerance is not None else _tolerance_of(model)
    with nothing_left_behind(model):
        reference = as_it_is(subject)
        wanted = reference.run()  # its errors are the caller's
        ready = {_MODEL: reference}
        rows = {_MODEL: CheckedPath(_MODEL, None, None, reference.note())}
        for name in list(_PATHS)[1:]:
            rows[name] = _row(name, subject, wanted, ready)
        times = _times({name: path.run for name, path in ready.items() if path.timed})
    done = tuple(
        _with_time(row, times.get(name), times[_MODEL], ready.get(name))
        for name, row in rows.items()
    )
    found = Check(_about(subject), done, limit)
    if verbose:
        Console().print(found)
    return found


def _row(name: str, subject: Subject, wanted: Arrays, ready: dict[str, Path]) -> CheckedPath:
    """Run a path once."""
    try:
        path = _PATHS[name](subject)
        actual = path.run()
        far = _difference(actual, wanted if path.wanted is None else path.wanted)
    except (ConveyorError, ModuleNotFoundError) as error:  # it refuses, and says why
        return CheckedPath(name, None, None, _in_a_line(error))
    except Exception as error:  # of a framework: what is there must run
        return CheckedPath(name, None, None, f"{type(error).__name__}: {error}"[:200], failed=True)
    ready[name] = path
    return CheckedPath(name, far, None, path.note())


def _in_a_line(error: Exception) -> str:
    """Of a lesson what it got, and why it cannot be."""
    # Keras puts lines of its own around the errors of layers.
    lines = str(error).splitlines() or [type(error).__name__]
    return next((line.partition("; got ")[2] for line in lines if "; got " in line), lines[0])


def _difference(actual: Arrays, wanted: Arrays) -> float:
    """The largest; infinite where shapes differ, NaN where there is one."""
    largest = [0.0]
    for a, b in zip(actual, wanted, strict=True):
        if a.shape != b.shape:
            return float("inf")
        scale = max(1.0, float(np.abs(b).max(initial=0.0)))
        difference = np.abs(a.astype("float64") - b.astype("float64"))
        largest.append(float(difference.max(initial=0.0)) / scale)
    return float(np.max(largest))


def _times(runs: dict[str, Callable[[], Arrays]]) -> dict[str, float]:
    """The median seconds of each, in turns; each ran once before."""
    taken: dict[str, list[float]] = {name: [] for name in runs}
    rounds = n = 0
    begin = time.perf_counter()
    while n < max(_FEWEST_ROUNDS, rounds):
        # Who follows whom changes.
        for name in list(runs)[:: 1 if n % 2 == 0 else -1]:
            start = time.perf_counter()
            runs[name]()
            taken[name].append(time.perf_counter() - start)
        n += 1
        rounds = min(_MOST_ROUNDS, int(_SECONDS * n / (time.perf_counter() - begin)))
    return {name: float(np.median(seconds)) for name, seconds in taken.items()}


def _with_time(
    row: CheckedPath, seconds: float | None, model: float, path: Path | None
) -> CheckedPath:
    if seconds is None or path is None:
        return row
    note = row.note
    if path.parts:
        note += f", {1e6 * seconds / path.parts:.0f} µs a step"
    elif row.difference is not None and path.wanted is None:
        ratio = model / seconds
        faster = f"{ratio:.2f}" if ratio < 10 else f"{ratio:.0f}"
        note = ", ".join(filter(None, (f"{faster}x as fast as it is", note)))
    return CheckedPath(row.path, row.difference, 1e3 * seconds, note)


def _tolerance_of(model: Any) -> float:
    layers = model._flatten_layers(include_self=True, recursive=True)
    short = any(layer.compute_dtype in ("bfloat16", "float16") for layer in layers)
    return _TOLERANCE_16_BITS if short else _TOLERANCE


def _about(subject: Subject) -> str:
    shapes = " and ".join(str(array.shape) for array in subject.arrays)
    return f'conveyor.check: "{subject.model.name}" on x {shapes}, {keras.backend.backend()}'
