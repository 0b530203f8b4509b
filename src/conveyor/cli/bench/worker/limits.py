"""What this machine can do at best: `python -m conveyor.cli.bench.worker.limits THREADS`."""

from __future__ import annotations

import ctypes
import json
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec

from ...._engines import _library
from .. import _caches

_SECONDS = 0.1
_TRIES = 5


def main() -> None:
    """Print the fields of `Limits` as one line of JSON."""
    threads = int(sys.argv[1])
    missing = _library.missing()
    measured = {} if missing else {"flops": _flops(threads), "reads": _reads(threads)}
    print(json.dumps({**measured, "products": _products(threads)}))


def _best(measure: Callable[[], float]) -> float:
    # Whatever disturbs makes it slower: the limit is the best that was seen.
    return max(measure() for _ in range(_TRIES))


def _flops(threads: int) -> dict[str, float]:
    probe = _library._core().conveyor_probe_flops
    probe.restype = ctypes.c_double
    probe.argtypes = [ctypes.c_int32, ctypes.c_int32, ctypes.c_double]
    rates = {
        dtype: _best(lambda code=code: probe(code, threads, _SECONDS))  # type: ignore[misc]
        for dtype, code in _library.DTYPES.items()
    }
    return {dtype: rate for dtype, rate in rates.items() if rate > 0}


def _reads(threads: int) -> list[dict[str, object]]:
    probe = _library._core().conveyor_probe_read
    probe.restype = ctypes.c_double
    probe.argtypes = [ctypes.c_int64, ctypes.c_int32, ctypes.c_double]
    return [
        {
            "level": level,
            "bytes_a_thread": size,
            "bytes_a_second": _best(lambda size=size: probe(size, threads, _SECONDS)),  # type: ignore[misc]
        }
        for level, size in _caches.working_sets(threads).items()
    ]


def _products(threads: int) -> dict[str, float]:
    """torch's own matrix products, where it is installed."""
    if find_spec("torch") is None:
        return {}
    import torch

    torch.set_num_threads(threads)
    n = 2048
    rates = {}
    with torch.inference_mode():
        for dtype in (torch.float32, torch.bfloat16):
            a, b = (torch.rand(n, n).to(dtype) for _ in "ab")

            def rate(a: torch.Tensor = a, b: torch.Tensor = b) -> float:
                start = time.perf_counter()
                torch.mm(a, b)
                return float(2 * n**3 / (time.perf_counter() - start))

            rate()
            rates[str(dtype).removeprefix("torch.")] = _best(rate)
    return rates


if __name__ == "__main__":
    main()
