"""What JAX's transformations make of the native GRU; the primitives are those of the LSTM."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from conveyor import ops
from conveyor._engines import _library
from frameworks import only_on
from grus import GRUCase

pytestmark = [
    only_on("jax"),
    pytest.mark.skipif(_library.missing() is not None, reason=str(_library.missing())),
]
ARRAYS = ("x", "kernel", "recurrent_kernel", "bias", "hidden_state", "recurrent_dropout_mask")
EVERY = tuple(range(len(ARRAYS)))


@pytest.fixture(autouse=True)
def _x64():
    import jax

    with jax.enable_x64(True):
        yield


def loss_at(reset_after: bool, engine: str = "native"):
    """A loss that needs three of the states, and where to take it."""
    import jax.numpy as jnp

    case = GRUCase(
        name="transformed", batch=2, time_steps=2, features=2, units=2, mask="holes", resets=True,
        initial_state=True, recurrent_dropout="per_gate", reset_after=reset_after,
    )  # fmt: skip
    arguments = case.arguments()

    def loss(*arrays):
        given = {**arguments, **dict(zip(ARRAYS, arrays, strict=True))}
        names = ("hidden_states", "update_gates", "candidates")
        hs, z, g = ops.gru(**given, outputs=names, engine=engine)
        return jnp.sum(hs**2) + jnp.sum(z * hs) + jnp.sum(g**3)

    return loss, [jnp.asarray(arguments[name]) for name in ARRAYS]


def assert_same(actual, expected) -> None:
    import jax

    jax.tree.map(
        lambda a, e: np.testing.assert_allclose(a, e, rtol=1e-9, atol=1e-9), actual, expected
    )


def test_derivatives_of_both_orders_and_of_each_mode(caplog) -> None:
    import jax

    def derivatives(engine):
        loss, at = loss_at(reset_after=False, engine=engine)

        @jax.jit
        def run(*at):
            slopes, pull = jax.vjp(jax.grad(jax.checkpoint(loss), EVERY), *at)
            return slopes, pull(at), jax.jvp(loss, at, at)

        return run(*at)

    with caplog.at_level(logging.INFO, "conveyor"):
        native = derivatives("native")
    assert "second derivative of a GRU runs on the portable engine" in caplog.text
    assert_same(native, derivatives("portable"))


@pytest.mark.parametrize("mapped", [(0, 4), (1,)], ids=["rows", "weights"])
def test_vmap(mapped) -> None:
    import jax
    import jax.numpy as jnp

    loss, at = loss_at(reset_after=True)
    axes = tuple(1 if n in mapped else None for n in EVERY)
    stacked = [a if x is None else jnp.stack([a, 2 * a], 1) for a, x in zip(at, axes, strict=True)]
    slopes = jax.value_and_grad(loss, EVERY)
    both = jax.jit(lambda *a: (jax.vmap(loss, axes)(*a), jax.vmap(slopes, axes)(*a)))(*stacked)
    for n, factor in enumerate((1, 2)):
        given = [a if x is None else factor * a for a, x in zip(at, axes, strict=True)]
        value, (again, gradients) = jax.tree.map(lambda a, n=n: a[n], both)
        assert_same((again, gradients), jax.jit(slopes)(*given))
        assert_same(value, again)


def test_what_runs_where() -> None:
    import jax
    from jax import export

    loss, at = loss_at(reset_after=False)
    gradient = jax.jit(jax.grad(loss))
    assert "conveyor_jax_gru_backward" in gradient.lower(*at).as_text()
    exported = export.export(gradient, platforms=("cpu", "cuda"))(*at)
    assert "conveyor_jax" not in exported.mlir_module()
    assert_same(exported.call(*at), gradient(*at))
