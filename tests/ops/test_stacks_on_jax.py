"""A stack of LSTMs in one call of the native core, under JAX's transformations."""

from __future__ import annotations

import numpy as np
import pytest

from conveyor._engines import _library
from frameworks import assert_same, only_on
from jax_derivatives import derivatives
from native_calls import calls_in_jaxpr
from stacked_requests import float_arrays, loss_of, states_of

pytestmark = [
    only_on("jax"),
    pytest.mark.skipif(_library.missing() is not None, reason=str(_library.missing())),
]


@pytest.fixture(autouse=True)
def _x64():
    import jax

    with jax.enable_x64(True):
        yield


@pytest.fixture
def arrays():
    import jax.numpy as jnp

    return float_arrays(jnp.asarray)


def calls_in(function, *arrays):
    """Each primitive, and how many layers it has."""
    import jax

    found = calls_in_jaxpr(jax.make_jaxpr(function)(*arrays).jaxpr)
    return [(name, len(parts)) for name, parts in found]


def assert_equal(found, expected) -> None:
    import jax

    jax.tree.map(np.testing.assert_array_equal, found, expected)


# A layer whose hidden states are read elsewhere, too, waits until the gradients are added.
@pytest.mark.parametrize(("of", "backward"), [("top", [3]), ("lowest", [1]), ("all", [1, 1, 1])])
def test_calls_and_numbers(of, backward, arrays) -> None:
    import jax

    slope = jax.value_and_grad(lambda a: loss_of(a, of=of))
    assert calls_in(slope, arrays) == [("forward", 3), *(("backward", n) for n in backward)]
    alone = jax.jit(jax.value_and_grad(lambda a: loss_of(a, of=of, together=False)))
    for run in (jax.jit(slope), slope):
        assert_equal(run(arrays), alone(arrays))


@pytest.mark.parametrize("moving", [(0,), (1,), (2,), (0, 2)])
def test_frozen_layers(moving, arrays) -> None:
    import jax

    def slope(together):
        def loss(kernels):
            changed = zip(moving, kernels, strict=True)
            all_arrays = list(arrays)
            for n, kernel in changed:
                all_arrays[n] = {**arrays[n], "recurrent_kernel": kernel}
            return loss_of(all_arrays, together=together)

        return jax.grad(loss)

    kernels = [arrays[n]["recurrent_kernel"] for n in moving]
    calls = calls_in_jaxpr(jax.make_jaxpr(slope(True))(kernels).jaxpr)
    (_, forward), (_, backward) = calls
    assert [part.keep for part in forward] == [n >= min(moving) for n in range(3)]
    assert len(backward) == 3 - min(moving)
    assert_equal(jax.jit(slope(True))(kernels), jax.jit(slope(False))(kernels))


def test_what_nobody_reads_is_not_computed(arrays) -> None:
    import jax
    from jax.interpreters import partial_eval

    closed = jax.make_jaxpr(states_of)(arrays)
    used = [False, False, True, False, False]  # the hidden states between
    thinner, _ = partial_eval.dce_jaxpr(closed.jaxpr, used)
    [(_, parts)] = calls_in_jaxpr(thinner)
    assert [part.outputs for part in parts] == [("hidden_states",)] * 2
    found = jax.jit(lambda a: states_of(a)[2])(arrays)
    np.testing.assert_array_equal(found, states_of(arrays, together=False)[2])


def test_checkpoint_and_scan(arrays) -> None:
    import jax

    slope = jax.grad(jax.checkpoint(loss_of))
    assert calls_in(slope, arrays) == [("forward", 3), ("forward", 3), ("backward", 3)]
    assert_same(jax.jit(slope)(arrays), jax.grad(loss_of)(arrays))
    run = jax.jit(lambda a: jax.lax.scan(lambda t, _: (t + loss_of(a), None), 0.0, length=2)[0])
    assert_same(jax.grad(run)(arrays)[0]["x"], 2 * jax.grad(loss_of)(arrays)[0]["x"])


@pytest.mark.parametrize("mapped", [[(0, "x")], [(1, "kernel")], [(2, "cell_state"), (0, "bias")]])
def test_vmap(mapped, arrays) -> None:
    import jax
    import jax.numpy as jnp

    def slope(values):
        changed = [dict(its) for its in arrays]
        for (n, name), value in zip(mapped, values, strict=True):
            changed[n][name] = value
        return jax.value_and_grad(lambda a: loss_of(a, of="all"))(changed)

    rows = [[times * arrays[n][name] for n, name in mapped] for times in (1, 2)]
    stacked = [jnp.stack(each) for each in zip(*rows, strict=True)]
    found = jax.jit(jax.vmap(slope))(stacked)
    assert_same(found, jax.tree.map(lambda *a: np.stack(a), *map(jax.jit(slope), rows)))


def test_forward_mode_and_second_derivatives(arrays) -> None:
    import jax

    together, alone = (
        jax.jit(lambda n=n: derivatives(lambda a: loss_of(a, together=n), arrays))()
        for n in (True, False)
    )
    assert_same(together, alone, 100)


def test_the_transpose_of_the_gradients(arrays) -> None:
    import jax

    states, back = jax.vjp(lambda a: states_of(a)[3], arrays)
    forward_again = jax.linear_transpose(back, states)
    (along,) = jax.jit(lambda a: forward_again((a,)))(arrays)
    _, pushed = jax.jvp(lambda a: states_of(a, together=False)[3], (arrays,), (arrays,))
    assert_same(along, pushed, 100)


def test_an_exported_program_does_without_the_core(arrays) -> None:
    import jax
    from jax import export

    slope = jax.jit(jax.grad(loss_of))
    exported = export.export(slope, platforms=("cpu", "cuda"))(arrays)
    assert "conveyor_jax" not in exported.mlir_module()
    assert_same(exported.call(arrays), slope(arrays))
