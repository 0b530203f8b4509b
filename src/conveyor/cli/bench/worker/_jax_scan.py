"""What a good JAX user writes by hand: one product for all inputs, then `lax.scan`."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from .._job import Job, arrays
from .._peers import Peer
from . import _on_jax, _versions
from ._ready import GRADIENTS, Arrays, Ready


def versions() -> dict[str, str]:
    """Of JAX."""
    return _versions.of(*_on_jax.PACKAGES)


def _step(carry: Any, projected: Any, recurrent_kernel: Any) -> tuple[Any, Any]:
    h, c = carry
    i, f, g, o = jnp.split(projected + h @ recurrent_kernel, 4, axis=-1)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    h = jax.nn.sigmoid(o) * jnp.tanh(c)
    return (h, c), h


def _lstm(x: Any, kernel: Any, recurrent_kernel: Any, bias: Any) -> tuple[Any]:
    projected = x.swapaxes(0, 1) @ kernel + bias  # (T, B, 4U)
    zeros = jnp.zeros((x.shape[0], recurrent_kernel.shape[0]), x.dtype)
    _, hidden_states = lax.scan(
        lambda carry, row: _step(carry, row, recurrent_kernel), (zeros, zeros), projected
    )
    return (hidden_states.swapaxes(0, 1),)


def prepare(job: Job, peer: Peer, *, threads: int, engine: str) -> Ready:
    """The job, under `jax.jit`."""
    given = {name: _on_jax.array(values, job.dtype) for name, values in arrays(job).items()}
    x, cotangent = given.pop("x"), given.pop("cotangent")
    weights = tuple(given.values())
    if job.mode == "stream":
        return _stream(job, x, *weights)
    if job.mode == "inference":
        run = _on_jax.inference(_lstm, x, weights)
        return Ready(run, lambda outputs: {"hidden_states": _on_jax.to_numpy(outputs[0])})

    def values(both: Any) -> Arrays:
        (hidden_states,), gradients = both
        named = {"hidden_states": hidden_states, **dict(zip(GRADIENTS, gradients, strict=True))}
        return {name: _on_jax.to_numpy(array) for name, array in named.items()}

    return Ready(_on_jax.training(_lstm, x, weights, cotangent), values)


def _stream(job: Job, x: Any, kernel: Any, recurrent_kernel: Any, bias: Any) -> Ready:
    def step(carry: Any, row: Any, kernel: Any, recurrent_kernel: Any, bias: Any) -> Any:
        return _step(carry, row @ kernel + bias, recurrent_kernel)[0]

    compiled = jax.jit(step)
    zeros = jnp.zeros((job.batch, job.units), x.dtype)
    rows = [jax.block_until_ready(x[:, t]) for t in range(job.time_steps)]

    def run() -> Any:
        carry = zeros, zeros
        for row in rows:
            carry = jax.block_until_ready(compiled(carry, row, kernel, recurrent_kernel, bias))
        return carry[0]

    return Ready(run, lambda h: {"hidden_state": np.asarray(h)}, parts=job.time_steps)
