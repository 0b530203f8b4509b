"""The native engine in JAX: values, gradients, nothing that was not asked for, refusals."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

from cases import CASES, Case
from conveyor import ConveyorError, ops
from conveyor._engines import _layout, _library
from conveyor._vocabulary import STATE_NAMES
from frameworks import only_on
from native_calls import calls_in_jaxpr
from oracles import reference_backward, reference_forward

pytestmark = [
    only_on("jax"),
    pytest.mark.skipif(_library.missing() is not None, reason=str(_library.missing())),
]

ARRAYS = ("x", "kernel", "recurrent_kernel", "bias", "hidden_state", "cell_state")
DROPOUTS = ("dropout_mask", "recurrent_dropout_mask")
SMALL = Case(name="small", batch=2, mask="holes", initial_states=True)
# Of the largest value. bfloat16 rounds by 4e-3, also the gates that the backward pass reads.
TOLERANCE = {"float64": 1e-12, "float32": 1e-5, "bfloat16": 4e-2}


def on_jax(case: Case, dtype: str = "float32"):
    import jax.numpy as jnp

    return {
        name: jnp.asarray(a) if isinstance(a, np.ndarray) else a
        for name, a in case.arguments(jnp.dtype(dtype)).items()
    }


def wide(arguments):
    """What the reference computes with: the numbers as they are, in float64."""
    return {
        name: np.asarray(a).astype(bool if name == "mask" else "float64")
        if hasattr(a, "dtype")
        else a
        for name, a in arguments.items()
    }


def names_of(arguments, among=(*ARRAYS, *DROPOUTS)):
    return [name for name in among if arguments[name] is not None]


def loss_of(arguments, names, **options):
    """A loss of the named arrays that needs three states."""
    import jax.numpy as jnp

    def loss(*arrays):
        given = {**arguments, **dict(zip(names, arrays, strict=True)), **options}
        outputs = ("hidden_states", "cell_states", "forget_gates")
        hs, cs, f = ops.lstm(**given, outputs=outputs)
        return jnp.sum(hs**2) + jnp.sum(cs * hs) + jnp.sum(f**3)

    return loss


@pytest.fixture
def x64():
    import jax

    with jax.enable_x64(True):
        yield


# -------------------------------------------------------------------- values and gradients


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_all_states_and_all_gradients(case: Case, dtype: str, x64) -> None:
    import jax

    arguments = on_jax(case, dtype)
    exact = wide(arguments)
    names = names_of(arguments)
    rng = np.random.default_rng(7)
    expected = reference_forward(**exact)
    cotangents = {
        n: rng.normal(size=a.shape).astype(jax.numpy.dtype(dtype)) for n, a in expected.items()
    }

    @jax.jit
    def run(arrays, cotangents):
        def lstm(*arrays):
            given = {**arguments, **dict(zip(names, arrays, strict=True))}
            return ops.lstm(**given, outputs=STATE_NAMES, engine="native")

        states, gradients_of = jax.vjp(lstm, *arrays)
        return states, gradients_of(cotangents)

    states, gradients = run(
        [arguments[n] for n in names], tuple(cotangents[n] for n in STATE_NAMES)
    )
    for name, state in zip(STATE_NAMES, states, strict=True):
        assert_near(state, expected[name], dtype)
    arriving = wide(cotangents)
    expected = reference_backward(arriving, **exact)
    for name, gradient in zip(names, gradients, strict=True):
        if name in ARRAYS:
            assert_near(gradient, expected[name], dtype)
        else:
            assert_slope(gradient, name, exact, arriving, dtype)


def assert_near(actual, expected, dtype: str) -> None:
    assert actual.dtype == dtype
    atol = TOLERANCE[dtype] * max(1.0, np.abs(expected).max(initial=0))
    np.testing.assert_allclose(np.asarray(actual).astype("float64"), expected, rtol=0, atol=atol)


def assert_slope(gradient, name, exact, arriving, dtype: str) -> None:
    """The gradient of a dropout mask, along one direction, by finite differences."""
    assert gradient.dtype == dtype
    gradient = np.asarray(gradient).astype("float64")
    direction = np.random.default_rng(8).normal(size=gradient.shape)

    def value(step):
        states = reference_forward(**{**exact, name: exact[name] + step * direction})
        return sum(np.sum(states[n] * arriving[n]) for n in STATE_NAMES)

    slope = (value(1e-5) - value(-1e-5)) / 2e-5
    atol = max(TOLERANCE[dtype], 1e-8) * max(1.0, np.linalg.norm(gradient))
    np.testing.assert_allclose(np.sum(gradient * direction), slope, rtol=0, atol=atol)


# ------------------------------------------------------------ nothing that is not asked for


def test_inference_keeps_nothing() -> None:
    import jax

    arguments = on_jax(SMALL)
    run = lambda x: ops.lstm(**{**arguments, "x": x}, outputs="cell_state", engine="native")  # noqa: E731
    [(name, [part])] = calls_in_jaxpr(jax.make_jaxpr(run)(arguments["x"]).jaxpr)
    assert (name, part.outputs, part.keep) == ("forward", ("cell_state",), False)
    assert "u8[" not in str(jax.make_jaxpr(run)(arguments["x"]))


def test_training_computes_what_is_asked_for() -> None:
    import jax

    arguments = on_jax(SMALL)

    def loss(bias):
        given = {**arguments, "bias": bias}
        hs, c, i = ops.lstm(
            **given, outputs=("hidden_states", "cell_state", "input_gates"), engine="native"
        )
        return c.sum(), (hs, i)

    jaxpr = jax.make_jaxpr(jax.grad(loss, has_aux=True))(arguments["bias"]).jaxpr
    (forward, [kept]), (backward, [asked]) = calls_in_jaxpr(jaxpr)
    assert (forward, backward) == ("forward", "backward")
    # hidden_states once: what the user gets is what the backward pass reads.
    assert kept.outputs == ("hidden_states", "cell_state", "input_gates")
    assert kept.keep
    assert (asked.arriving, asked.wanted) == (("cell_state",), ("bias",))


def test_checkpoint_keeps_nothing_until_the_backward_pass() -> None:
    import jax

    arguments = on_jax(SMALL)
    loss = loss_of(arguments, ("x",), engine="native")
    jaxpr = jax.make_jaxpr(jax.grad(jax.checkpoint(loss)))(arguments["x"]).jaxpr
    keeps = sorted(part.keep for name, [part] in calls_in_jaxpr(jaxpr) if name == "forward")
    assert keeps == [False, True]


# ------------------------------------------------------------------------ what it refuses


def test_elsewhere_than_on_the_cpu(monkeypatch) -> None:
    import jax

    arguments = on_jax(SMALL)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    with pytest.raises(ConveyorError, match="the arrays are on gpu"):
        jax.jit(lambda x: ops.lstm(**{**arguments, "x": x}, engine="native"))(arguments["x"])
    ops.lstm(**arguments, engine="native")  # these are on the CPU all the same


def test_shapes_that_are_not_known() -> None:
    import jax
    from jax import export

    arguments = {**on_jax(Case(name="plain")), "x": None}
    (batch,) = export.symbolic_shape("batch")
    x = jax.ShapeDtypeStruct((batch, 5, 4), "float32")
    with pytest.raises(ConveyorError, match="shapes that are known"):
        export.export(jax.jit(lambda x: ops.lstm(**{**arguments, "x": x}, engine="native")))(x)


def call(operands, result, **changed):
    import jax

    from conveyor._engines.glue._jax_native import _register

    _register()
    sizes = {"batch": 2, "time_steps": 3, "features": 4, "units": 5}
    fields = {name for name, _ in _layout.LSTM._fields_}
    told = {"size": ctypes.sizeof(_layout.LSTM), **sizes}
    lstm = _layout.LSTM(**told | {n: v for n, v in changed.items() if n in fields})
    numbers = np.frombuffer(bytes(lstm)[: _layout.LSTM.x.offset], np.int64)
    plain = {"inputs": 0b111, "states": 1, "reserve": 0, "chained": 0}
    plain |= {n: v for n, v in changed.items() if n not in (*fields, "count")}
    attributes = {n: np.array([v], np.int64) for n, v in plain.items()}
    run = jax.ffi.ffi_call("conveyor_jax_forward", result)
    return run(*operands, problem=numbers[: changed.get("count")], **attributes)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"units": 6}, r"kernel: expected 96 elements of XLA type 11, got 80 of type 11"),
        ({"batch": 2**62}, "x: expected -1 elements"),
        ({"features": -4}, "x: expected -1 elements"),
        ({"dtype": 1}, "x: expected 24 elements of XLA type 12, got 24 of type 11"),
        ({"dtype": 3}, "dtype: unknown"),
        ({"activation": 99}, "activation: unknown"),
        ({"size": 8}, "size of another version"),
        ({"count": 5}, "attribute problem: no 22 integers of 64 bits"),
        ({"inputs": 0b1111}, "bias: there is no operand 3"),
        ({"inputs": 0b11}, "1 operands and 0 results too many"),
        ({"states": 4}, "hidden_state: expected 10 elements"),
        ({"states": 3}, "cell_states: there is no result 1"),
        ({"chained": 1}, "chained: the request before returns nothing"),
    ],
    ids=str,
)
def test_a_call_that_does_not_fit_is_an_error(changed, message) -> None:
    import jax

    shape = jax.ShapeDtypeStruct((2, 3, 5), "float32")
    operands = [np.ones(s, "float32") for s in ((2, 3, 4), (4, 20), (5, 20))]
    assert np.isfinite(call(operands, [shape])[0]).all()
    with pytest.raises(RuntimeError, match=message):
        call(operands, [shape], **changed)[0].block_until_ready()
