"""What JAX's transformations make of `ops.lstm`."""

from __future__ import annotations

import numpy as np
import pytest

from cases import Case
from conveyor import LSTM, ops
from frameworks import assert_close, only_on
from oracles import finite_differences, reference_forward

pytestmark = only_on("jax")

CASE = Case(
    name="small", batch=2, time_steps=4, features=3, units=2, mask="holes", initial_states=True
)
NAMES = ("x", "kernel", "recurrent_kernel", "bias")


@pytest.fixture
def arguments():
    import jax

    with jax.enable_x64(True):
        yield CASE.arguments("float64")


def loss_of(arguments):
    import jax.numpy as jnp

    def loss(*arrays):
        given = {**arguments, **dict(zip(NAMES, arrays, strict=True))}
        hs, cs, f = ops.lstm(**given, outputs=("hidden_states", "cell_states", "forget_gates"))
        return jnp.sum(hs**2) + jnp.sum(cs * hs) + jnp.sum(f**3)

    return loss, [jnp.asarray(arguments[name]) for name in NAMES]


def test_jit_grad_and_checkpoint_agree_with_finite_differences(arguments) -> None:
    import jax

    loss, arrays = loss_of(arguments)
    every = tuple(range(len(NAMES)))
    plain = jax.grad(loss, every)(*arrays)
    jitted = jax.jit(jax.grad(loss, every))(*arrays)
    again = jax.grad(jax.checkpoint(loss), every)(*arrays)
    measured = finite_differences(lambda *a: float(loss(*a)), [np.array(a) for a in arrays])
    for gradient, *others in zip(measured, plain, jitted, again, strict=True):
        for other in others:
            np.testing.assert_allclose(other, gradient, rtol=1e-6, atol=1e-8)


def test_second_derivatives(arguments) -> None:
    import jax
    import jax.numpy as jnp

    loss, arrays = loss_of(arguments)
    direction = [jnp.asarray(np.random.default_rng(3).normal(size=a.shape)) for a in arrays]
    every = tuple(range(len(NAMES)))

    def slope(*at):
        return jax.grad(loss, every)(*at)

    _, curved = jax.jvp(slope, tuple(arrays), tuple(direction))
    step = 1e-5
    ahead = slope(*(a + step * d for a, d in zip(arrays, direction, strict=True)))
    behind = slope(*(a - step * d for a, d in zip(arrays, direction, strict=True)))
    for c, a, b in zip(curved, ahead, behind, strict=True):
        np.testing.assert_allclose(c, (a - b) / (2 * step), rtol=1e-5, atol=1e-6)


def test_vmap_over_weights_and_over_sequences(arguments) -> None:
    import jax
    import jax.numpy as jnp

    plain = {k: v for k, v in arguments.items() if k not in ("mask", "hidden_state", "cell_state")}
    kernels = jnp.stack([plain["kernel"], 2 * plain["kernel"]])
    mapped = jax.vmap(lambda kernel: ops.lstm(**{**plain, "kernel": kernel}))(kernels)
    for n, scale in enumerate((1, 2)):
        expected = reference_forward(**{**plain, "kernel": scale * plain["kernel"]})
        assert_close(mapped[n], expected["hidden_states"], "float64")


def test_one_scan_whatever_the_length() -> None:
    import jax

    def program(time_steps):
        case = Case(name="long", time_steps=time_steps)
        arguments = case.arguments("float32")
        x = arguments.pop("x")
        return str(
            jax.make_jaxpr(lambda x: ops.lstm(x, **arguments, engine="portable"))(
                jax.numpy.asarray(x)
            )
        )

    short, long = program(5), program(500)
    assert short.count("scan[") == 1
    assert long.count("\n") == short.count("\n")


def test_lengths_are_traced() -> None:
    import jax

    arguments = Case(name="plain").arguments("float32")
    arguments["mask"] = None
    run = jax.jit(lambda lengths: ops.lstm(**arguments, lengths=lengths))
    lengths = np.array([2, 5, 0])
    assert_close(run(lengths), ops.lstm(**arguments, lengths=lengths))


def test_eager_calls_compile_once() -> None:
    import jax

    layer = LSTM(3)
    x = jax.numpy.ones((2, 4, 5))
    layer(x)
    with jax.log_compiles(False), jax.no_tracing():
        layer(x)
