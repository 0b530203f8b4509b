"""The native engine: which requests it takes, and what they are to its core."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from . import _gru_library, _library, _linear, glue
from ._activations import text_of
from ._gru_request import GRURequest, GRUStates
from ._options import options_of
from ._request import Activation, Array, LSTMRequest, States


def missing() -> str | None:
    """Why the engine cannot run anything here."""
    return _library.missing()


def instruction_sets() -> dict[str, str]:
    """Each, slowest first, and whether it is "in use", "ready", or what it lacks here."""
    used = _library.target()
    return {
        name: f"missing: {lacks}" if lacks else "in use" if name == used else "ready"
        for name, lacks in _library.targets().items()
    }


def threads() -> tuple[int, str]:
    """How many threads a call takes at most, and who says so."""
    allowed = _library.threads()
    if _library.threads_beside(1) == 0:
        return allowed, "as CONVEYOR_NUM_THREADS says"
    framework = glue.active().threads()
    if framework:
        return min(framework, allowed), f"as {keras.backend.backend()} is set"
    return allowed, "as many as there are cores for this process"


def why_not(request: LSTMRequest) -> str | None:
    """Why the engine does not run this request, or None where it does."""
    return (
        why_never(request.activation, request.recurrent_activation, request.output_activation)
        or _dtype_missing(glue.dtype_name(request.x))
        or glue.active().why_not_native(_arrays(request))
    )


def why_not_gru(request: GRURequest) -> str | None:
    """Why the engine does not run this GRU, or None where it does."""
    arrays = [array for array in request.arrays().values() if array is not None]
    return (
        why_never_gru(request.activation, request.recurrent_activation)
        or _dtype_missing(glue.dtype_name(request.x))
        or glue.active().why_not_native(arrays)
    )


def why_never_gru(activation: Activation, recurrent_activation: Activation) -> str | None:
    """The same as `why_never` for a GRU."""
    return why_never(activation, recurrent_activation) or _gru_library.missing()


def why_not_linear(arrays: Sequence[Array]) -> str | None:
    """Why the engine does not run an output layer on these arrays, or None where it does."""
    dtype = glue.dtype_name(arrays[0])
    if dtype not in _linear.DTYPES and missing() is None:
        return f"dtype {dtype}; it has {', '.join(_linear.DTYPES)}"
    return missing() or glue.active().why_not_native(arrays)


def _arrays(request: LSTMRequest) -> list[Array]:
    return [array for array in request.arrays().values() if array is not None]


def why_never(
    activation: Activation,
    recurrent_activation: Activation,
    output_activation: Activation | None = None,
) -> str | None:
    """What is known before there is a request: why none with these activations is taken."""
    return (
        missing()
        or _activation_missing(activation, "activation")
        or _activation_missing(recurrent_activation, "recurrent_activation")
        or _activation_missing(output_activation or activation, "output_activation")
    )


def why_never_in(
    dtype: str,
    activation: Activation,
    recurrent_activation: Activation,
    output_activation: Activation | None = None,
) -> str | None:
    """The same where the dtype is known, too: for NumPy arrays that is all."""
    return why_never(activation, recurrent_activation, output_activation) or _dtype_missing(dtype)


def _activation_missing(activation: Activation, name: str) -> str | None:
    if text_of(activation):
        return None
    given = getattr(activation, "__name__", activation)
    return f"{name}={given}; it has those of Keras that work on each number by itself"


def _dtype_missing(dtype: str) -> str | None:
    if dtype in _library.DTYPES:
        return None
    return f"dtype {dtype}; it has {', '.join(_library.DTYPES)}"


def run(request: LSTMRequest) -> States:
    """Compute the states that the request names."""
    states: States = glue.active().native(request)
    return states


def run_gru(request: GRURequest) -> GRUStates:
    """The same as `run` for a GRU."""
    states: GRUStates = glue.active().native(request)
    return states


def problem(request: LSTMRequest) -> _library.Problem:
    """What the core is told of a request whose shapes are known."""
    r = request
    batch, time_steps, features = map(int, r.x.shape)
    return _library.Problem(
        dtype=glue.dtype_name(r.x),
        batch=batch,
        time_steps=time_steps,
        features=features,
        units=r.units,
        options=options_of(r),
        dropout_masks=_masks(r.dropout_mask),
        recurrent_dropout_masks=_masks(r.recurrent_dropout_mask),
        **beyond(r.arrays()),
    )


def beyond(arrays: Mapping[str, Array]) -> dict[str, Any]:
    """What arrays say of a problem besides its axes and masks."""
    scale, projection = arrays.get("gate_scale"), arrays.get("projection_kernel")
    return {
        "layer_norm": 0 if scale is None else len(scale.shape),
        "cell_norm": arrays.get("cell_scale") is not None,
        "output_transform": arrays.get("output_kernel") is not None,
        "projection": 0 if projection is None else int(projection.shape[1]),
    }


def _masks(mask: object) -> int:
    return 0 if mask is None else 1 if len(mask.shape) == 2 else 4  # type: ignore[attr-defined]
