"""What JAX's transformations make of the native engine."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cases import Case
from conveyor import ops
from conveyor._engines import _library
from frameworks import assert_same, only_on

pytestmark = [
    only_on("jax"),
    pytest.mark.skipif(_library.missing() is not None, reason=str(_library.missing())),
]

CASE = Case(
    name="transformed",
    batch=2,
    mask="holes",
    initial_states=True,
    resets=True,
    dropout="shared",
    recurrent_dropout="per_gate",
)
WEIGHTS = ("kernel", "recurrent_kernel", "bias")
STATES = ("hidden_state", "cell_state")
DROPOUTS = ("dropout_mask", "recurrent_dropout_mask")
ARRAYS = ("x", *WEIGHTS, *STATES, *DROPOUTS)


@pytest.fixture(autouse=True)
def _x64():
    import jax

    with jax.enable_x64(True):
        yield


def loss_at(names, case=CASE):
    """A loss of the named arrays that needs three states, and where to take it."""
    import jax.numpy as jnp

    arguments = case.arguments("float64")

    def loss(*arrays):
        given = {**arguments, **dict(zip(names, arrays, strict=True))}
        outputs = ("hidden_states", "cell_states", "forget_gates")
        hs, cs, f = ops.lstm(**given, outputs=outputs, engine="native")
        return jnp.sum(hs**2) + jnp.sum(cs * hs) + jnp.sum(f**3)

    return loss, [jnp.asarray(arguments[name]) for name in names]


@pytest.mark.parametrize(
    "mapped",
    [("x",), ("x", "hidden_state", *DROPOUTS), ("cell_state",), ("kernel",), ARRAYS],
    ids="+".join,
)
def test_vmap(mapped) -> None:
    import jax
    import jax.numpy as jnp

    loss, arrays = loss_at(ARRAYS)
    every = tuple(range(len(ARRAYS)))
    axes = tuple(1 if name in mapped else None for name in ARRAYS)
    rows = [[a if x is None else n * a for a, x in zip(arrays, axes, strict=True)] for n in (1, 2)]
    stacked = [
        a if x is None else jnp.stack(both, 1)
        for a, x, *both in zip(arrays, axes, *rows, strict=True)
    ]

    @jax.jit
    def run(*arrays):
        values = jax.vmap(loss, axes)
        inside = jax.vmap(jax.grad(loss, every), axes)
        outside = jax.grad(lambda *a: values(*a).sum(), every)
        return values(*arrays), inside(*arrays), outside(*arrays)

    values, inside, outside = run(*stacked)
    alone = jax.jit(jax.value_and_grad(loss, every))
    expected = jax.tree.map(lambda *a: np.stack(a), *(alone(*row) for row in rows))
    assert_same((values, inside), expected)
    for gradient, axis, each in zip(outside, axes, expected[1], strict=True):
        assert_same(gradient, each.sum(0) if axis is None else np.moveaxis(each, 0, 1))


def test_every_derivative(caplog) -> None:
    import jax
    import jax.numpy as jnp

    small = Case(name="small", batch=2, mask="holes", initial_states=True)
    loss, at = loss_at(("kernel", "cell_state"), small)
    rng = np.random.default_rng(3)
    at, direction = tuple(at), tuple(jnp.asarray(rng.normal(size=a.shape)) for a in at)
    gradient = jax.grad(loss, (0, 1))

    def along(arrays):
        return sum(jnp.vdot(a, d) for a, d in zip(arrays, direction, strict=True))

    @jax.jit
    def derivatives():
        value, pushed = jax.jvp(loss, at, direction)
        _, linear = jax.linearize(loss, *at)
        _, pull = jax.vjp(loss, *at)
        forward = (
            pushed,
            linear(*direction),
            jax.linear_transpose(pull, value)(direction)[0],
        )
        reverse = jax.jacfwd(loss, (0, 1))(*at), jax.linear_transpose(linear, *at)(1.0)
        second = (
            jax.jvp(gradient, at, direction)[1],
            jax.grad(lambda *a: along(gradient(*a)), (0, 1))(*at),
            jax.grad(lambda *a: jax.jvp(loss, a, direction)[1], (0, 1))(*at),
        )
        return forward, reverse, second

    with caplog.at_level(logging.INFO, "conveyor"):
        forward, reverse, second = derivatives()
    assert "forward mode runs on the portable engine" in caplog.text
    assert "second derivative of an LSTM runs on the portable engine" in caplog.text

    slope = gradient(*at)
    measure = jax.jit(gradient)
    ahead, behind = (
        measure(*(a + step * d for a, d in zip(at, direction, strict=True)))
        for step in (1e-5, -1e-5)
    )
    curve = jax.tree.map(lambda a, b: (a - b) / 2e-5, ahead, behind)
    for actual in forward:
        assert_same(actual, along(slope), scale=10)
    for actual in reverse:
        assert_same(actual, slope, scale=10)
    for actual in second:
        assert_same(actual, curve, scale=1e5)


def test_scan_checkpoint_and_donation() -> None:
    import jax

    loss, (start, state) = loss_at(("kernel", "hidden_state"))
    slope = jax.value_and_grad(jax.checkpoint(loss))

    def step(kernel, _):
        value, gradient = slope(kernel, state)
        return kernel - 0.01 * gradient, value

    kernel, values = start, []
    plain = jax.jit(jax.value_and_grad(loss))
    for _ in range(3):
        value, gradient = plain(kernel, state)
        kernel, values = kernel - 0.01 * gradient, [*values, value]
    run = jax.jit(lambda kernel: jax.lax.scan(step, kernel, None, length=3), donate_argnums=0)
    assert_same(run(start + 0), (kernel, np.stack(values)))


def test_the_gradient_of_a_scan() -> None:
    import jax
    import jax.numpy as jnp

    loss, (start,) = loss_at(("hidden_state",))

    @jax.jit
    def run(state):
        return jax.lax.scan(lambda h, _: (jnp.tanh(h * loss(h)), None), state, None, length=3)[0]

    def loop(state):
        for _ in range(3):
            state = jnp.tanh(state * loss(state))
        return state

    gradients = [jax.grad(lambda h, f=f: f(h).sum())(start / 100) for f in (run, loop)]
    assert np.abs(gradients[1]).max() > 0.1
    assert_same(*gradients)


def test_without_jit() -> None:
    import jax

    loss, arrays = loss_at(("kernel", "bias"))
    with jax.disable_jit():
        plain = jax.grad(loss, (0, 1))(*arrays)
    assert_same(plain, jax.jit(jax.grad(loss, (0, 1)))(*arrays))


def test_several_devices() -> None:
    changed = {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
        "PYTHONPATH": str(Path(__file__).parents[1]),
    }
    script = Path(__file__).with_name("several_devices.py")
    subprocess.run([sys.executable, str(script)], check=True, env={**os.environ, **changed})


def test_an_exported_program_does_without_the_core() -> None:
    import jax
    from jax import export

    loss, (x,) = loss_at(("x",))
    gradient = jax.jit(jax.grad(loss))
    assert "conveyor_jax" in gradient.lower(x).as_text()
    exported = export.export(gradient, platforms=("cpu", "cuda"))(x)
    assert "conveyor_jax" not in exported.mlir_module()
    again = export.deserialize(exported.serialize()).call(x)
    assert_same(again, gradient(x))
