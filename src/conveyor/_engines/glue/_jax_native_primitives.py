"""JAX: the native engine as three primitives, so that every transformation finds its rule.

    forward_p    arrays -> states, and the reserve where `keep` says so
    tangent_p    arrays, hidden_states, reserve, tangents of arrays -> tangents of states
    backward_p   arrays, hidden_states, reserve, d_states -> gradients of arrays

`tangent_p` is what differentiating `forward_p` gives: linear in the tangents, with
`backward_p` as its transpose. It runs on the portable engine, and only in forward mode. Nothing
that is not asked for is computed: an absent cotangent is absent here too, not zeros.

The one parameter, `parts`, says what is asked: see `_jax_native_parts`. What several parts ask for
is one call of the core, in both directions; where a transformation has no use for that, such as
`vmap` or a second derivative, each part is bound by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import jax
from jax.extend.core import Primitive
from jax.interpreters import ad
from jax.sharding import NamedSharding, PartitionSpec

from ..._vocabulary import has_time_axis
from .. import _cells, _descent
from .._cells import Names
from .._request import Array
from . import (
    _jax_native_batching,
    _jax_native_lowering,
    _jax_native_portable,
    _jax_native_unused,
)
from ._jax_native_parts import (
    Backward,
    Forward,
    Part,
    Tangent,
    in_turn,
    of_all,
    with_operands,
    with_results,
)
from ._jax_native_portable import as_request

_Asked = tuple[Any, Sequence[Any]]  # a part and its operands


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


def _forward_shapes(part: Forward, *arrays: Any) -> list[Any]:
    r, cell = as_request(part, arrays), part.cell
    states = [_state(r, name) for name in part.outputs]
    if not part.keep:
        return states
    size = cell.core.reserve_bytes(cell.problem(r))
    return [*states, like(r.x, (size,), "uint8")]


def _tangent_shapes(part: Tangent, *operands: Any) -> list[Any]:
    r = as_request(part, operands)
    return [_state(r, name) for name in part.outputs]


def _backward_shapes(part: Backward, *operands: Any) -> list[Any]:
    return [operands[part.given.index(name)].update(weak_type=False) for name in part.wanted]


forward_p.def_abstract_eval(of_all(_forward_shapes))
tangent_p.def_abstract_eval(of_all(_tangent_shapes))
backward_p.def_abstract_eval(of_all(_backward_shapes))


# ------------------------------------------------------------------------------- derivatives


def _bind(primitive: Any, asked: Sequence[_Asked | None]) -> list[list[Array]]:
    """The results of each part, all in one call; none where nothing is asked."""
    there = [each for each in asked if each is not None]
    if not there:
        return [[] for _ in asked]
    operands = [operand for _, its in there for operand in its]
    flat = iter(primitive.bind(*operands, parts=tuple(part for part, _ in there)))
    return [[] if each is None else list(islice(flat, each[0].results)) for each in asked]


def _forward_jvp(
    arrays: Any, tangents: Any, *, parts: tuple[Forward, ...]
) -> tuple[list[Array], list[Any]]:
    moving: list[tuple[dict[str, Any], bool]] = []
    asked: list[_Asked] = []
    below = False  # whether what a chained part reads moves
    for part, (its, moved) in with_operands(parts, arrays, tangents):
        names = part.cell.differentiable
        moves = {n: t for n, t in _there(part.given, moved).items() if n in names}
        follows = part.chained and below
        below = follows or bool(moves)
        moving.append((moves, follows))
        asked.append((_kept(part) if below else part, its))
    primals: list[Array] = []
    followed: list[_Asked | None] = []
    hidden_states = None
    for part, (kept, operands), results, (moves, follows) in zip(
        parts, asked, _bind(forward_p, asked), moving, strict=True
    ):
        given: Names = ("x",) * part.chained + part.given
        read = [*[hidden_states] * part.chained, *operands]
        states = dict(zip(kept.outputs, results, strict=False))
        hidden_states = states.get("hidden_states")
        primals += [*(states[name] for name in part.outputs), *results[-1:] * part.keep]
        tangent = Tangent(part.request, given, part.outputs, tuple(moves), chained=follows)
        known = (*read, hidden_states, results[-1])
        followed.append((tangent, (*known, *moves.values())) if moves or follows else None)
    t_primals: list[Any] = []
    for (_, its), moved in zip(
        with_results(parts, primals), _bind(tangent_p, followed), strict=True
    ):
        t_primals += [*moved, *map(_still, its[len(moved) :])]
    return primals, t_primals


def _kept(part: Forward) -> Forward:
    """With what the gradients need."""
    outputs = tuple(n for n in part.cell.states if n in part.outputs or n == "hidden_states")
    return replace(part, outputs=outputs, keep=True)


def _there(names: Names, tangents: Sequence[Any]) -> dict[str, Any]:
    """Those that are not known to be zeros."""
    named = zip(names, tangents, strict=True)
    return {name: t for name, t in named if type(t) is not ad.Zero}


def _still(value: Array) -> Any:
    return ad.Zero(jax.typeof(value).to_tangent_aval())


def _tangent_transpose(d_results: Any, *operands: Any, parts: tuple[Tangent, ...]) -> list[Any]:
    known, arriving, wanted = [], [], []
    for (part, (its,)), (_, d_states) in zip(
        with_operands(parts, operands), with_results(parts, d_results), strict=True
    ):
        read, tangents = _split(part, its)
        linear = zip(part.moving, tangents, strict=True)
        known.append(read)
        arriving.append(_there(part.outputs, d_states))
        wanted.append([name for name, t in linear if ad.is_undefined_primal(t)])

    def run(layers: Sequence[_descent.Layer]) -> list[dict[str, Array]]:
        asked: list[_Asked | None] = []
        for layer in layers:
            part, names = parts[layer.number], (tuple(layer.arriving), tuple(layer.wanted))
            follows = bool(asked) and parts[-1].chained
            backward = Backward(part.request, part.given, *names, chained=follows)
            asked.append((backward, (*known[layer.number], *layer.arriving.values())))
        found = _bind(backward_p, asked)
        return [dict(zip(a.wanted, d, strict=True)) for a, d in zip(layers, found, strict=True)]

    beside = _descent.descend if parts[-1].chained else _descent.beside
    d_operands: list[Any] = []
    for part, gradients in zip(parts, beside(arriving, wanted, run), strict=True):
        d_operands += [None] * (len(part.given) + 2) + [gradients.get(n) for n in part.moving]
    return d_operands


def _backward_transpose(d_results: Any, *operands: Any, parts: tuple[Backward, ...]) -> list[Any]:
    asked: list[_Asked | None] = []
    follows = False  # whether the layer above reads what moves here
    every = zip(with_operands(parts, operands), with_results(parts, d_results), strict=True)
    for (part, (its,)), (_, d_gradients) in reversed(list(every)):
        known, _ = _split(part, its)
        moves = _there(part.wanted, d_gradients)
        outputs = ("hidden_states", *part.arriving) if part.chained else part.arriving
        tangent = Tangent(part.request, part.given, outputs, tuple(moves), chained=follows)
        follows = follows or bool(moves)
        asked.append((tangent, (*known, *moves.values())) if follows else None)
        follows = follows and part.chained
    found = list(reversed(_bind(tangent_p, asked)))
    d_operands: list[Any] = []
    for (part, (its,)), t_states in zip(with_operands(parts, operands), found, strict=True):
        known, d_states = _split(part, its)
        moved = t_states[part.chained :] or [None] * len(d_states)
        d_operands += [None] * len(known)
        d_operands += [
            t if ad.is_undefined_primal(d) else None for t, d in zip(moved, d_states, strict=True)
        ]
    return d_operands


def _split(part: Part, operands: Sequence[Any]) -> tuple[Sequence[Any], Sequence[Any]]:
    """What the forward pass read and kept, and what is linear."""
    return operands[: len(part.given) + 2], operands[len(part.given) + 2 :]


def _second_jvp(primitive: Any, portable: Any) -> Any:
    """What the portable engine does, differentiated: for `tangent_p` and `backward_p`."""

    def moved(part: Part, operands: Sequence[Array], tangents: Sequence[Any]) -> list[Any]:
        arrays = len(part.given)
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
            return portable(part, *(changed.get(n, a) for n, a in enumerate(operands)))

        at = tuple(operands[n] for n in moving)
        return list(jax.jvp(function, at, tuple(tangents[n] for n in moving))[1])

    def of_one(part: Part, *pairs: tuple[Array, Any]) -> list[tuple[Array, Any]]:
        its, tangents = [a for a, _ in pairs], [t for _, t in pairs]
        values = primitive.bind(*its, parts=(part,))
        still = all(type(t) is ad.Zero for t in tangents)
        t_values = map(_still, values) if still else moved(part, its, tangents)
        return list(zip(values, t_values, strict=True))

    def rule(operands: Any, tangents: Any, *, parts: Any) -> tuple[list[Array], list[Any]]:
        _jax_native_lowering.say(f"the second derivative of {parts[0].cell.what}")
        pairs = in_turn(parts, list(zip(operands, tangents, strict=True)), of_one)
        return [value for value, _ in pairs], [t for _, t in pairs]

    return rule


ad.primitive_jvps[forward_p] = _forward_jvp
ad.primitive_jvps[tangent_p] = _second_jvp(tangent_p, _jax_native_portable.tangent)
ad.primitive_jvps[backward_p] = _second_jvp(backward_p, _jax_native_portable.backward)
ad.primitive_transposes[tangent_p] = _tangent_transpose
ad.primitive_transposes[backward_p] = _backward_transpose


_jax_native_lowering.register(forward_p, tangent_p, backward_p)
_jax_native_batching.register(forward_p, tangent_p, backward_p)
_jax_native_unused.register(forward_p, tangent_p, backward_p)
