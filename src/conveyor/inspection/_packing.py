"""Arrays inside an HTML file: whole numbers with a step between them, deflated, in base64.

A report of a large model holds millions of numbers that have to look right and be read to two
or four digits. As JSON text they would take ten bytes each; packed like this, about one.

    value = whole number * scale of its unit

The whole numbers have 8 or 16 bits; the lowest of them stands for what is not finite (a masked
step). So the error of a value is at most half the scale of its unit, and the page says so. Along
time only the differences are stored (modulo 2^bits, so nothing is lost): memory changes little
from step to step, which deflate makes use of.
"""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Bits = Literal[8, 16]


@dataclass(frozen=True)
class Packed:
    """An array (samples, units, steps), ready for the page.

    Attributes:
        data: base64 of raw deflate of the differences along time, little-endian; for 16 bits
            the low bytes of all of them, then the high bytes.
        bits: of a whole number.
        scales: a step for each unit; value = whole number * scale.
        shape: (samples, units, steps).
    """

    data: str
    bits: Bits
    scales: tuple[float, ...]
    shape: tuple[int, int, int]


def pack(array: npt.NDArray[Any], bits: Bits = 16) -> Packed:
    """Pack real numbers (samples, units, steps).

    >>> packed = pack(np.array([[[0.5, -1.0]]]))
    >>> [round(float(value), 4) for value in unpack(packed).ravel()]
    [0.5, -1.0]
    """
    values = np.asarray(array, dtype=np.float64)
    finite = np.isfinite(values)
    values = np.where(finite, values, 0.0)
    most = 2 ** (bits - 1) - 1
    scales = np.array([_rounded_up(unit) for unit in np.abs(values).max((0, 2), initial=0) / most])
    whole = np.where(finite, np.rint(values / scales[:, np.newaxis]), -most - 1)
    stored = whole.astype(f"<i{bits // 8}")
    changes = np.diff(stored, axis=2, prepend=stored.dtype.type(0))
    planes = changes.reshape(-1, 1).view(np.uint8).T
    squeezer = zlib.compressobj(6, zlib.DEFLATED, -15)
    data = squeezer.compress(planes.tobytes()) + squeezer.flush()
    samples, units, steps = values.shape
    return Packed(
        base64.b64encode(data).decode("ascii"),
        bits,
        tuple(scales.tolist()),
        (samples, units, steps),
    )


def unpack(packed: Packed) -> npt.NDArray[np.float64]:
    """The array again, up to half a scale; NaN for what was not finite."""
    planes = np.frombuffer(zlib.decompress(base64.b64decode(packed.data), -15), np.uint8)
    width = packed.bits // 8
    changes = np.ascontiguousarray(planes.reshape(width, -1).T).view(f"<i{width}")
    whole = np.cumsum(changes.reshape(packed.shape), axis=2, dtype=changes.dtype)
    scales = np.array(packed.scales)[:, np.newaxis]
    return np.where(whole == -(2 ** (packed.bits - 1)), np.nan, whole * scales)


def _rounded_up(step: float) -> float:
    """Four digits are short to write, and no value may come to lie beyond the largest number."""
    return float(f"{1.0006 * step:.3e}") or 1.0  # nothing but zeros: any step is right
