"""Several LSTMs in one call of the native core, under JAX's transformations."""

from __future__ import annotations

import numpy as np
import pytest

from conveyor._engines import _library
from frameworks import assert_same, only_on
from jax_derivatives import derivatives
from native_calls import calls_in_jaxpr
from two_requests import FLOATS, float_arrays, states_of

pytestmark = [
    only_on("jax"),
    pytest.mark.skipif(_library.missing() is not None, reason=str(_library.missing())),
]


@pytest.fixture(autouse=True)
def _x64():
    import jax

    with jax.enable_x64(True):
        yield


def arguments():
    import jax.numpy as jnp

    return float_arrays(jnp.asarray)


def loss_of(arrays, *, together=True):
    import jax.numpy as jnp

    hs, c, f = states_of(arrays, together=together)
    return jnp.sum(hs**2) + jnp.sum(c * hs[:, 0]) + jnp.sum(f**3)


def calls_in(function, *arrays):
    """Each primitive, and how many requests it has."""
    import jax

    found = calls_in_jaxpr(jax.make_jaxpr(function)(*arrays).jaxpr)
    return [(name, len(parts)) for name, parts in found]


def test_one_call_forward_and_one_backward() -> None:
    import jax

    arrays = arguments()
    slope = jax.value_and_grad(loss_of)
    assert calls_in(slope, arrays) == [("forward", 2), ("backward", 2)]
    text = jax.jit(slope).lower(arrays).as_text()
    assert [text.count(f"@conveyor_jax_{name}(") for name in ("forward", "backward")] == [1, 1]
    alone = jax.jit(jax.value_and_grad(lambda a: loss_of(a, together=False)))
    for run in (jax.jit(slope), slope):
        jax.tree.map(np.testing.assert_array_equal, run(arrays), alone(arrays))


@pytest.mark.parametrize("reached", [0, 1])
def test_a_gradient_of_one(reached) -> None:
    import jax

    arrays = arguments()

    def loss(arrays, *, together=True):
        return states_of(arrays, together=together)[2 * reached].sum()

    slope = jax.grad(loss)
    assert calls_in(slope, arrays) == [("forward", 2), ("backward", 1)]
    found = jax.jit(slope)(arrays)
    jax.tree.map(
        np.testing.assert_array_equal, found, jax.grad(lambda a: loss(a, together=False))(arrays)
    )
    assert not any(g.any() for g in found[1 - reached].values())


def test_the_weights_of_one() -> None:
    import jax

    arrays = arguments()
    slope = jax.grad(lambda kernel: loss_of([arrays[0], {**arrays[1], "kernel": kernel}]))
    jaxpr = jax.make_jaxpr(slope)(arrays[1]["kernel"]).jaxpr
    (_, forward), (_, backward) = calls_in_jaxpr(jaxpr)
    assert [part.keep for part in forward] == [False, True]
    assert [part.wanted for part in backward] == [("kernel",)]


def test_what_nobody_reads_is_not_computed() -> None:
    import jax
    from jax.interpreters import partial_eval

    arrays = arguments()
    closed = jax.make_jaxpr(states_of)(arrays)
    thinner, used = partial_eval.dce_jaxpr(closed.jaxpr, [False, True, False])
    [(name, [part])] = calls_in_jaxpr(thinner)
    assert (name, part.outputs) == ("forward", ("cell_state",))
    assert sum(used) == len(arrays[0])
    found = jax.jit(lambda a: states_of(a)[1])(arrays)
    np.testing.assert_array_equal(found, states_of(arrays, together=False)[1])


def test_checkpoint_and_scan() -> None:
    import jax

    arrays = arguments()
    slope = jax.grad(jax.checkpoint(loss_of))
    assert calls_in(slope, arrays) == [("forward", 2), ("forward", 2), ("backward", 2)]
    assert_same(jax.jit(slope)(arrays), jax.grad(loss_of)(arrays))
    run = jax.jit(lambda a: jax.lax.scan(lambda t, _: (t + loss_of(a), None), 0.0, length=2)[0])
    assert_same(jax.grad(run)(arrays)[0]["x"], 2 * jax.grad(loss_of)(arrays)[0]["x"])


@pytest.mark.parametrize("mapped", [("x",), ("kernel",), FLOATS], ids="+".join)
@pytest.mark.parametrize("both", [True, False])
def test_vmap(mapped, both) -> None:
    import jax
    import jax.numpy as jnp

    arrays = arguments()
    axes = [
        {n: 0 if n in mapped and (both or k == 0) else None for n in its}
        for k, its in enumerate(arrays)
    ]
    rows = [
        [
            {n: a if axes[k][n] is None else times * a for n, a in its.items()}
            for k, its in enumerate(arrays)
        ]
        for times in (1, 2)
    ]
    stacked = [
        {
            n: a if axes[k][n] is None else jnp.stack([row[k][n] for row in rows])
            for n, a in its.items()
        }
        for k, its in enumerate(arrays)
    ]
    slope = jax.value_and_grad(loss_of)
    found = jax.jit(jax.vmap(slope, (axes,)))(stacked)
    assert_same(found, jax.tree.map(lambda *a: np.stack(a), *map(jax.jit(slope), rows)))


def test_forward_mode_and_second_derivatives() -> None:
    import jax

    arrays = arguments()
    together, alone = (
        jax.jit(lambda n=n: derivatives(lambda a: loss_of(a, together=n), arrays))()
        for n in (True, False)
    )
    assert_same(together, alone, 100)


def test_an_exported_program_does_without_the_core() -> None:
    import jax
    from jax import export

    arrays = arguments()
    slope = jax.jit(jax.grad(loss_of))
    exported = export.export(slope, platforms=("cpu", "cuda"))(arrays)
    assert "conveyor_jax" not in exported.mlir_module()
    assert_same(exported.call(arrays), slope(arrays))
