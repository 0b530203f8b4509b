"""JAX: requests for the native engine, and which of them it takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import jax
from jax import lax

from .. import _cells, _library
from .._request import Array
from ._jax_native_lowering import BACKWARD, FORWARD
from ._jax_native_parts import Forward, with_results
from ._jax_native_primitives import forward_p


def why_not_native(arrays: Sequence[Array]) -> str | None:
    """Why the native engine does not run on these arrays in JAX, or None."""
    elsewhere = _platforms(arrays) - {"cpu"}
    if elsewhere:
        return f"it runs on the CPU, and the arrays are on {', '.join(sorted(elsewhere))}"
    if not all(isinstance(size, int) for a in arrays for size in a.shape):
        return "it needs shapes that are known while JAX traces"
    return None


def _platforms(arrays: Sequence[Array]) -> set[str]:
    """Where it will run, as far as that is known while JAX traces; see also the lowering."""
    concrete = [a for a in arrays if not isinstance(a, jax.core.Tracer)]
    platforms = {device.platform for a in concrete for device in a.devices()}
    return platforms if len(concrete) == len(arrays) else platforms | {jax.default_backend()}


def native(request: Any) -> dict[str, Array]:
    """The states of the request.

    Second and forward-mode derivatives are those of the portable engine, which a line in
    the log "conveyor" says at level INFO.
    """
    return native_together([request])[0]


def native_together(requests: Sequence[Any]) -> list[dict[str, Array]]:
    """The states of each of several that do not wait for each other."""
    return _run(requests, chained=False)


def native_stack(requests: Sequence[Any]) -> list[dict[str, Array]]:
    """The states of each of several of which each reads the hidden states of the one before."""
    return _run(requests, chained=True)


def _run(requests: Sequence[Any], *, chained: bool) -> list[dict[str, Array]]:
    _register()
    parts: list[Forward] = []
    operands: list[Array] = []
    for request in requests:
        cell = _cells.of(request)
        arrays, follows = cell.arrays(request), chained and bool(parts)
        if follows:
            del arrays["x"]
        if "cell_state" in arrays:
            dtype = cell.problem(request).state_dtype
            arrays["cell_state"] = lax.convert_element_type(arrays["cell_state"], dtype)
        names = tuple(n for n in cell.states if n in request.outputs)
        nothing: dict[str, Any] = dict.fromkeys(request.arrays())
        bare = replace(request, **nothing, unroll=False, outputs=())
        parts.append(Forward(bare, tuple(arrays), names, keep=False, chained=follows))
        operands += arrays.values()
    results = forward_p.bind(*_varying_alike(operands), parts=tuple(parts))
    return [
        dict(zip(part.outputs, states, strict=True))
        for part, states in with_results(parts, results)
    ]


@cache
def _register() -> None:
    core = _library._core()
    for name in (*FORWARD.values(), *BACKWARD.values()):
        handler = jax.ffi.pycapsule(getattr(core, name))
        jax.ffi.register_ffi_target(name, handler, platform="cpu")


def _varying_alike(arrays: Sequence[Array]) -> tuple[Array, ...]:
    """In a `shard_map`: weights that all devices share, beside sequences that they do not."""
    varying = [_varying(a) for a in arrays]
    everywhere = frozenset[str]().union(*varying)
    return tuple(
        _vary(a, tuple(everywhere - its)) if everywhere - its else a
        for a, its in zip(arrays, varying, strict=True)
    )


def _varying(array: Array) -> frozenset[str]:
    """The axes of the mesh along which the values differ."""
    kind: Any = jax.typeof(array)
    if hasattr(kind, "manual_axis_type"):  # since 0.10
        return frozenset(kind.manual_axis_type.varying)
    return frozenset(getattr(kind, "vma", ()))


def _vary(array: Array, axes: tuple[str, ...]) -> Array:
    if hasattr(lax, "pcast"):
        return lax.pcast(array, axes, to="varying")
    return lax.pvary(array, axes)  # its name until 0.8
