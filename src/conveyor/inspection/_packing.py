"""Arrays inside an HTML file: 16-bit whole numbers in base64, with the step between them.

A report holds a few hundred thousand numbers that only have to look right and be read to four
digits. As JSON text they would take ten bytes each; packed like this they take under three.

    packed["data"]   base64 of little-endian int16, row by row
    packed["scale"]  value = whole number * scale
    packed["shape"]  the shape of the array

-32768 stands for what is not finite. The error of a value is at most scale / 2.
"""

from __future__ import annotations

import base64
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt

NOT_FINITE = -32768
_LARGEST = 32767


class Packed(TypedDict):
    data: str
    scale: float
    shape: list[int]


def pack(array: npt.NDArray[Any]) -> Packed:
    """Pack real numbers of any shape.

    >>> packed = pack(np.array([0.5, -1.0]))
    >>> [round(float(value), 4) for value in unpack(packed)]
    [0.5, -1.0]
    """
    values = np.asarray(array, dtype=np.float64)
    finite = np.isfinite(values)
    largest = float(np.max(np.abs(values), where=finite, initial=0.0))
    scale = largest / _LARGEST or 1.0  # nothing but zeros: any scale is right
    whole = np.where(finite, np.rint(np.where(finite, values, 0.0) / scale), NOT_FINITE)
    data = base64.b64encode(whole.astype("<i2").tobytes()).decode("ascii")
    return {"data": data, "scale": scale, "shape": list(values.shape)}


def unpack(packed: Packed) -> npt.NDArray[np.float64]:
    """The array again, up to half a `scale`; NaN for what was not finite."""
    whole = np.frombuffer(base64.b64decode(packed["data"]), dtype="<i2").astype(np.float64)
    values = np.where(whole == NOT_FINITE, np.nan, whole * packed["scale"])
    return values.reshape(packed["shape"])
