"""JAX: what turns out later to be wanted by nobody is not computed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from jax.interpreters import partial_eval

from ._jax_native_parts import Backward, Forward, with_operands, with_results


def register(*primitives: Any) -> None:
    """For instance the reserve, in the forward pass of `jax.checkpoint`."""
    for primitive in primitives:
        partial_eval.dce_rules[primitive] = _without_unused


def _without_unused(used: list[bool], eqn: Any) -> tuple[list[bool], Any]:
    if not any(used):
        return [False] * len(eqn.invars), None
    parts: list[Any] = []
    read: list[bool] = []
    made: list[bool] = []
    handed_on = False  # whether the part behind, which stays, reads the first result
    every = zip(
        with_operands(eqn.params["parts"], eqn.invars),
        with_results(eqn.params["parts"], used),
        strict=True,
    )
    for (part, (its,)), (_, its_used) in reversed(list(every)):
        its_made = [u or (handed_on and n == 0) for n, u in enumerate(its_used)]
        key = "wanted" if isinstance(part, Backward) else "outputs"
        names = zip(getattr(part, key), its_made, strict=False)
        changed: dict[str, Any] = {key: tuple(name for name, u in names if u)}
        if isinstance(part, Forward) and part.keep:
            changed["keep"] = its_made[-1]
        stays = any(its_made)
        if stays:
            parts.insert(0, replace(part, **changed))
        read = [stays] * len(its) + read
        made = its_made + made
        handed_on = stays and part.chained
    return read, eqn.replace(
        params={"parts": tuple(parts)},
        invars=[v for v, its in zip(eqn.invars, read, strict=True) if its],
        outvars=[v for v, u in zip(eqn.outvars, made, strict=True) if u],
    )
