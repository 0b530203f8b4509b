"""JAX: the native engine as three primitives, so that every transformation finds its rule.

    forward_p    arrays -> states, and the reserve where `keep` says so
    tangent_p    arrays, hidden_states, reserve, tangents of arrays -> tangents of states
    backward_p   arrays, hidden_states, reserve, d_states -> gradients of arrays

`tangent_p` is what differentiating `forward_p` gives: linear in the tangents, with
`backward_p` as its transpose. It runs on the portable engine, and only in forward mode. Nothing
that is not asked for is computed: an absent cotangent is absent here too, not zeros.

Parameters: `request`, of an LSTM or of a GRU, without its arrays; `given`, the names of the
arrays, which come first among the operands; names of states and of gradients, in the order of the
core.
"""

from __future__ import annotations

from typing import Any

import jax
from jax.extend.core import Primitive
from jax.interpreters import ad, partial_eval
from jax.sharding import NamedSharding, PartitionSpec

from ..._vocabulary import has_time_axis
from .. import _cells
from .._cells import Names
from .._request import Array
from . import _jax_native_batching, _jax_native_lowering, _jax_native_portable
from ._jax_native_portable import as_request


def _primitive(name: str) -> Any:
    primitive = Primitive(name)
    primitive.multiple_results = True
    primitive.def_impl(_jax_native_lowering.run_alone(primitive))
    return primitive


forward_p = _primitive("conveyor_forward")
tangent_p = _primitive("conveyor_tangent")
backward_p = _primitive("conveyor_backward")


# ------------------------------------------------------------------------------------ shapes


def like(x: Any, shape: tuple[int, ...], dtype: Any = None) -> Any:
    """An abstract array on the same devices as x."""
    sharding = NamedSharding(x.sharding.mesh, PartitionSpec())
    return x.update(shape=shape, dtype=dtype, weak_type=False, sharding=sharding)


def _state(r: Any, name: str) -> Any:
    batch, time_steps, _ = r.x.shape
    size = _cells.of(r).state_size(name, r.recurrent_kernel)
    return like(r.x, (batch, time_steps, size) if has_time_axis(name) else (batch, size))


def _forward_shapes(
    *arrays: Any, request: Any, given: Names, outputs: Names, keep: bool
) -> list[Any]:
    r = as_request(request, given, arrays)
    states = [_state(r, name) for name in outputs]
    if not keep:
        return states
    cell = _cells.of(r)
    size = cell.core.reserve_bytes(cell.problem(r))
    return [*states, like(r.x, (size,), "uint8")]


def _tangent_shapes(
    *operands: Any, request: Any, given: Names, outputs: Names, moving: Names
) -> list[Any]:
    r = as_request(request, given, operands)
    return [_state(r, name) for name in outputs]


def _backward_shapes(
    *operands: Any, request: Any, given: Names, arriving: Names, wanted: Names
) -> Any:
    return [operands[given.index(name)].update(weak_type=False) for name in wanted]


forward_p.def_abstract_eval(_forward_shapes)
tangent_p.def_abstract_eval(_tangent_shapes)
backward_p.def_abstract_eval(_backward_shapes)


# ------------------------------------------------------------------------------- derivatives


def _forward_jvp(
    arrays: Any, tangents: Any, *, request: Any, given: Names, outputs: Names, keep: bool
) -> tuple[list[Array], list[Any]]:
    cell = _cells.of(request)
    moving = tuple(
        name
        for name, tangent in zip(given, tangents, strict=True)
        if type(tangent) is not ad.Zero and name in cell.differentiable
    )
    if not moving:
        values = forward_p.bind(*arrays, request=request, given=given, outputs=outputs, keep=keep)
        return values, [_still(value) for value in values]
    kept = tuple(n for n in cell.states if n in outputs or n == "hidden_states")
    *values, reserve = forward_p.bind(
        *arrays, request=request, given=given, outputs=kept, keep=True
    )
    states = dict(zip(kept, values, strict=True))
    primals = [states[name] for name in outputs]
    t_states: list[Any] = tangent_p.bind(
        *arrays,
        states["hidden_states"],
        reserve,
        *(tangents[given.index(name)] for name in moving),
        request=request,
        given=given,
        outputs=outputs,
        moving=moving,
    )
    if keep:
        return [*primals, reserve], [*t_states, _still(reserve)]
    return primals, t_states


def _still(value: Array) -> Any:
    return ad.Zero(jax.typeof(value).to_tangent_aval())


def _tangent_transpose(
    d_states: Any,
    *operands: Any,
    request: Any,
    given: Names,
    outputs: Names,
    moving: Names,
) -> list[Any]:
    known, tangents = operands[: len(given) + 2], operands[len(given) + 2 :]
    arriving = {n: d for n, d in zip(outputs, d_states, strict=True) if type(d) is not ad.Zero}
    wanted = tuple(n for n, t in zip(moving, tangents, strict=True) if ad.is_undefined_primal(t))
    if not arriving:
        return [None] * len(operands)
    gradients = backward_p.bind(
        *known,
        *arriving.values(),
        request=request,
        given=given,
        arriving=tuple(arriving),
        wanted=wanted,
    )
    by_name = dict(zip(wanted, gradients, strict=True))
    return [None] * len(known) + [by_name.get(name) for name in moving]


def _backward_transpose(
    d_gradients: Any,
    *operands: Any,
    request: Any,
    given: Names,
    arriving: Names,
    wanted: Names,
) -> list[Any]:
    known, d_states = operands[: len(given) + 2], operands[len(given) + 2 :]
    tangents = {n: t for n, t in zip(wanted, d_gradients, strict=True) if type(t) is not ad.Zero}
    if not tangents:
        return [None] * len(operands)
    t_states = tangent_p.bind(
        *known,
        *tangents.values(),
        request=request,
        given=given,
        outputs=arriving,
        moving=tuple(tangents),
    )
    linear = [
        t if ad.is_undefined_primal(d) else None for t, d in zip(t_states, d_states, strict=True)
    ]
    return [None] * len(known) + linear


def _second_jvp(primitive: Any, portable: Any) -> Any:
    """What the portable engine does, differentiated: for `tangent_p` and `backward_p`."""

    def rule(operands: Any, tangents: Any, **params: Any) -> tuple[list[Array], list[Array]]:
        what = _cells.of(params["request"]).what
        _jax_native_lowering.say(f"the second derivative of {what}")
        arrays = len(params["given"])
        # hidden_states and the reserve are functions of the arrays, and move with them.
        moving = [
            n
            for n, tangent in enumerate(tangents)
            if type(tangent) is not ad.Zero
            and n not in (arrays, arrays + 1)
            and tangent.dtype != jax.dtypes.float0
        ]

        def function(*moved: Array) -> Any:
            changed = dict(zip(moving, moved, strict=True))
            return portable(*(changed.get(n, a) for n, a in enumerate(operands)), **params)

        at = tuple(operands[n] for n in moving)
        _, moved = jax.jvp(function, at, tuple(tangents[n] for n in moving))
        return primitive.bind(*operands, **params), moved

    return rule


ad.primitive_jvps[forward_p] = _forward_jvp
ad.primitive_jvps[tangent_p] = _second_jvp(tangent_p, _jax_native_portable.tangent)
ad.primitive_jvps[backward_p] = _second_jvp(backward_p, _jax_native_portable.backward)
ad.primitive_transposes[tangent_p] = _tangent_transpose
ad.primitive_transposes[backward_p] = _backward_transpose


# ------------------------------------------------------- what JAX finds out later: not wanted


def _without_unused(used: list[bool], eqn: Any) -> tuple[list[bool], Any]:
    """For instance the reserve, in the forward pass of `jax.checkpoint`."""
    if not any(used):
        return [False] * len(eqn.invars), None
    key = "wanted" if eqn.primitive is backward_p else "outputs"
    names = eqn.params[key]
    params = {**eqn.params, key: tuple(n for n, u in zip(names, used, strict=False) if u)}
    if params.get("keep"):
        params["keep"] = used[-1]
    outvars = [v for v, u in zip(eqn.outvars, used, strict=True) if u]
    return [True] * len(eqn.invars), eqn.replace(params=params, outvars=outvars)


for _p in (forward_p, tangent_p, backward_p):
    partial_eval.dce_rules[_p] = _without_unused

_jax_native_lowering.register(forward_p, tangent_p, backward_p)
_jax_native_batching.register(forward_p, tangent_p, backward_p)
