"""What `ops.lstm` may be asked for beyond the plain LSTM: shapes, numbers, refusals."""

from __future__ import annotations

import math
import numbers
from dataclasses import replace
from typing import Any, TypedDict, cast

import keras
import numpy as np
from keras import ops

from .._engines import Array, LSTMRequest, Variant, glue
from .._errors import lesson

# Those of them that hold floats, and are checked like weights.
WEIGHTS = (
    "peephole",
    "output_kernel",
    "output_bias",
    "projection_kernel",
    "gate_scale",
    "cell_scale",
    "cell_shift",
)
ZONEOUTS = ("hidden_zoneout", "cell_zoneout")


class VariantArguments(TypedDict, total=False):
    """The arguments of `ops.lstm` that the plain LSTM leaves out; see there."""

    coupled: bool
    peephole: Array | None
    output_kernel: Array | None
    output_bias: Array | None
    projection_kernel: Array | None
    gate_scale: Array | None
    cell_scale: Array | None
    cell_shift: Array | None
    hidden_zoneout: float | Array | None
    cell_zoneout: float | Array | None
    clip: float | None
    cell_clip: float | None
    output_activation: Any


_NAMES = frozenset(VariantArguments.__annotations__)


def arrays_of(given: VariantArguments) -> dict[str, Array | None]:
    """The arrays among them, None where there is none."""
    named = cast("dict[str, Any]", given)
    zoneouts = {name: named.get(name) for name in ZONEOUTS}
    return {
        **{name: named.get(name) for name in WEIGHTS},
        **{name: a if hasattr(a, "shape") else None for name, a in zoneouts.items()},
    }


def check_variant(given: VariantArguments, where: str) -> None:
    """Refuse bounds that are not positive, parts outside [0, 1], and pairs of which one lacks."""
    unknown = sorted(given.keys() - _NAMES)
    if unknown:
        raise TypeError(f"{where}() got an unexpected keyword argument {unknown[0]!r}")
    named = cast("dict[str, Any]", given)
    for name in ("clip", "cell_clip"):
        bound = named.get(name)
        if bound is not None and not (_is_number(bound) and 0 < bound < math.inf):
            raise lesson(
                where,
                f"{name} to be a positive number, the bound on both sides of zero",
                f"{name}={bound!r}",
                f"Write {name}=3.0, or leave it out for no bound.",
            )
    for name in ZONEOUTS:
        part = named.get(name)
        if part is None or hasattr(part, "shape"):
            continue
        if not (_is_number(part) and 0 <= part <= 1):
            raise lesson(
                where,
                f"{name} to be the part of the old state to keep, between 0 and 1, or an array "
                "(batch, time_steps, units) of booleans",
                f"{name}={part!r}",
                f"Write {name}=0.1.",
            )
    for one, other in (("output_kernel", "output_bias"), ("cell_scale", "cell_shift")):
        if (given.get(one) is None) != (given.get(other) is None):
            lacks = one if given.get(one) is None else other
            raise lesson(
                where,
                f"{one} and {other} together",
                f"no {lacks}",
                f"Pass {lacks}, too: zeros of shape (units,) shift nothing, ones scale nothing.",
            )


def _is_number(value: object) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def wanted_shapes(
    arrays: dict[str, Any], gates: int, units: int, batch: Any, time_steps: Any
) -> dict[str, list[tuple[Any, ...]]]:
    """The shapes that each of these arrays may have."""
    hidden_size = arrays["recurrent_kernel"].shape[0]
    return {
        "peephole": [((gates - 1) * units,)],
        "output_kernel": [(units, units)],
        "output_bias": [(units,)],
        "projection_kernel": [(units, hidden_size)],
        "gate_scale": [(gates * units,), (2, gates * units)],
        "cell_scale": [(units,)],
        "cell_shift": [(units,)],
        "hidden_zoneout": [(batch, time_steps, hidden_size)],
        "cell_zoneout": [(batch, time_steps, units)],
    }


def as_variant(given: VariantArguments) -> Variant:
    """The numbers and switches of a request."""

    def part(name: str) -> float:
        value = cast("dict[str, Any]", given).get(name)
        return 0.0 if value is None or hasattr(value, "shape") else float(value)

    return Variant(
        coupled=bool(given.get("coupled")),
        clip=part("clip"),
        cell_clip=part("cell_clip"),
        hidden_zoneout=part("hidden_zoneout"),
        cell_zoneout=part("cell_zoneout"),
    )


def with_input_gate(request: LSTMRequest) -> LSTMRequest:
    """Four gates where the request has three: engines find the input gate, and do not read it."""
    if not request.variant.coupled:
        return request
    wide = {
        name: _widened(getattr(request, name), count)
        for name, count in _GATES_BESIDES.items()
        if getattr(request, name) is not None
    }
    return replace(request, **wide)


def with_input_gate_in_numpy(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same for arrays by their names."""
    wide = dict(arrays)
    for name in _GATES_BESIDES.keys() & arrays.keys():
        array = arrays[name]
        units = array.shape[-1] // _GATES_BESIDES[name]
        zeros = np.zeros((*array.shape[:-1], units), array.dtype)
        wide[name] = np.concatenate([zeros, array], axis=-1)
    return wide


# Of how many gates each has columns, beside those of the input gate.
_GATES_BESIDES = {"kernel": 3, "recurrent_kernel": 3, "bias": 3, "gate_scale": 3, "peephole": 2}


def _widened(array: Array, gates: int) -> Array:
    """Zeros before the columns of the forget gate."""
    shape = (*array.shape[:-1], array.shape[-1] // gates)
    return ops.concatenate([ops.zeros(shape, glue.dtype_name(array)), array], axis=-1)


def as_activation(given: VariantArguments) -> Any:
    """The output activation, or None for the activation itself."""
    named = given.get("output_activation")
    return None if named is None else keras.activations.get(named)
