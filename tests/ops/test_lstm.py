"""`ops.lstm` against the float64 reference and its own backward."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import ops as K

from cases import CASES, Case
from conveyor import ops
from conveyor._vocabulary import STATE_NAMES
from frameworks import BACKEND, Unhashable, assert_close, compiled, gradients, to_numpy
from oracles import reference_backward, reference_forward, torch_lstm

ARRAYS = ("x", "kernel", "recurrent_kernel", "bias", "hidden_state", "cell_state")
by_name = pytest.mark.parametrize("case", CASES, ids=str)


@by_name
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_all_eight_states(case: Case, dtype: str) -> None:
    arguments = case.arguments(dtype)
    expected = reference_forward(**arguments)
    actual = ops.lstm(**arguments, outputs=STATE_NAMES)
    for name, value in zip(STATE_NAMES, actual, strict=True):
        assert value.dtype == dtype
        assert_close(value, expected[name], dtype)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("case", [c for c in CASES if c.activation == "tanh"], ids=str)
def test_sixteen_bits(case: Case, dtype: str) -> None:
    arguments = {
        k: K.cast(v, dtype) if isinstance(v, np.ndarray) and v.dtype.kind == "f" else v
        for k, v in case.arguments("float32").items()
    }
    exact = {k: to_numpy(v) if hasattr(v, "dtype") else v for k, v in arguments.items()}
    expected = reference_forward(**exact)
    actual = ops.lstm(**arguments, outputs=STATE_NAMES)
    for name, value in zip(STATE_NAMES, actual, strict=True):
        assert_close(value, expected[name], dtype)


@pytest.mark.parametrize(
    ("case", "unroll"),
    [*((case, False) for case in CASES), *((case, True) for case in CASES[::3])],
    ids=str,
)
def test_compiled(case: Case, unroll: bool) -> None:
    if unroll and case.time_steps > 10:
        pytest.skip("written out, it compiles for long and shows no more")
    arguments = case.arguments("float32")
    given = {k: K.convert_to_tensor(v) for k, v in arguments.items() if isinstance(v, np.ndarray)}
    options = {k: v for k, v in arguments.items() if k not in given}

    @compiled
    def run(given):
        return ops.lstm(**given, **options, unroll=unroll, outputs=STATE_NAMES)

    expected = reference_forward(**arguments)
    for name, value in zip(STATE_NAMES, run(given), strict=True):
        assert_close(value, expected[name])


@by_name
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gradients_that_arrive_at_all_eight(case: Case, dtype: str) -> None:
    if dtype == "float64" and not case.is_small:
        pytest.skip("the small cases show it")
    arguments = case.arguments(dtype)
    names = [n for n in ARRAYS if arguments[n] is not None]
    expected_states = reference_forward(**arguments)
    rng = np.random.default_rng(7)
    cotangents = {n: rng.normal(size=expected_states[n].shape) for n in STATE_NAMES}
    expected = reference_backward(cotangents, **arguments)

    def run(*tensors):
        given = {**arguments, **dict(zip(names, tensors, strict=True))}
        return ops.lstm(**given, outputs=STATE_NAMES)

    actual = gradients(run, [arguments[n] for n in names], [cotangents[n] for n in STATE_NAMES])
    for name, gradient in zip(names, actual, strict=True):
        # A gradient sums over batch and steps: the error is relative to the largest.
        scale = max(1.0, float(np.abs(expected[name]).max()))
        assert_close(gradient / scale, expected[name] / scale, dtype, scale=5)


def test_against_torch() -> None:
    case = Case(name="torch", batch=4, time_steps=9, features=5, units=6, initial_states=True)
    arguments = case.arguments("float64")
    wanted = ("x", "kernel", "recurrent_kernel", "bias", "hidden_state", "cell_state")
    pytest.importorskip("torch", reason="torch is the judge here")
    expected = torch_lstm(**{n: arguments[n] for n in wanted})
    names = ("hidden_states", "hidden_state", "cell_state")
    actual = ops.lstm(**arguments, outputs=names)
    for name, value in zip(names, actual, strict=True):
        assert_close(value, expected[name], "float64")


@given(names=st.permutations(STATE_NAMES).flatmap(lambda p: st.integers(1, 8).map(lambda n: p[:n])))
def test_any_outputs_in_any_order(names) -> None:
    arguments = Case(name="holes", mask="holes", initial_states=True).arguments("float64")
    everything = dict(zip(STATE_NAMES, ops.lstm(**arguments, outputs=STATE_NAMES), strict=True))
    chosen = ops.lstm(**arguments, outputs=names)
    for name, value in zip(names, chosen if len(names) > 1 else [chosen], strict=True):
        assert_close(value, everything[name], "float64")


def test_one_name_gives_one_array() -> None:
    arguments = Case(name="plain").arguments("float32")
    assert ops.lstm(**arguments, outputs="cell_states").shape == (3, 5, 3)
    assert ops.lstm(**arguments, outputs=["cell_states"]).shape == (3, 5, 3)


@given(lengths=st.lists(st.integers(0, 6), min_size=4, max_size=4), garbage=st.floats())
def test_padding_is_as_if_it_were_not_there(lengths, garbage) -> None:
    case = Case(name="padded", batch=4, time_steps=6, initial_states=True)
    arguments = case.arguments("float64")
    for b, length in enumerate(lengths):
        arguments["x"][b, length:] = garbage
    arguments["mask"] = None
    padded = ops.lstm(**arguments, lengths=np.array(lengths), outputs=STATE_NAMES)
    for b, length in enumerate(lengths):
        if length == 0:
            assert (padded[2][b] == arguments["hidden_state"][b]).all()
            assert (padded[3][b] == arguments["cell_state"][b]).all()
            continue
        alone = {**arguments, "x": arguments["x"][b : b + 1, :length]}
        alone |= {n: arguments[n][b : b + 1] for n in ("hidden_state", "cell_state")}
        unpadded = ops.lstm(**alone, outputs=STATE_NAMES)
        for name, p, u in zip(STATE_NAMES, padded, unpadded, strict=True):
            row = p[b : b + 1, :length] if name.endswith("s") else p[b : b + 1]
            assert_close(row, u, "float64")


def test_garbage_in_padding_leaves_gradients_alone() -> None:
    arguments = Case(name="padded", mask="right").arguments("float32")
    arguments["x"][~arguments["mask"]] = np.nan
    names = ("x", "kernel", "recurrent_kernel", "bias")

    def run(*tensors):
        return (ops.lstm(**{**arguments, **dict(zip(names, tensors, strict=True))}),)

    clean = gradients(run, [arguments[n] for n in names], [np.ones((3, 5, 3))])
    assert all(np.isfinite(g).all() for g in clean)
    assert (clean[0][~arguments["mask"]] == 0).all()


def test_nan_is_not_hidden() -> None:
    arguments = Case(name="plain").arguments("float32")
    arguments["x"][1, 2, 0] = np.nan
    hs = ops.lstm(**arguments)
    assert np.isnan(hs[1, 2:]).all()
    assert np.isfinite(hs[1, :2]).all()
    assert np.isfinite(hs[[0, 2]]).all()


@given(at=st.integers(1, 5), backwards=st.booleans())
def test_two_calls_with_the_states_handed_over(at, backwards) -> None:
    case = Case(name="split", time_steps=6, mask="holes", go_backwards=backwards)
    arguments = case.arguments("float64")
    names = ("hidden_states", "cell_states", "hidden_state", "cell_state")
    whole = ops.lstm(**arguments, outputs=names)
    x, mask = arguments["x"], arguments["mask"]
    first, second = (
        (slice(6 - at, None), slice(0, 6 - at)) if backwards else (slice(at), slice(at, None))
    )
    one = ops.lstm(**{**arguments, "x": x[:, first], "mask": mask[:, first]}, outputs=names)
    handed = {"hidden_state": one[2], "cell_state": one[3]}
    two = ops.lstm(
        **{**arguments, **handed, "x": x[:, second], "mask": mask[:, second]}, outputs=names
    )
    for n in (0, 1):
        assert_close(np.concatenate([one[n], two[n]], axis=1), whole[n], "float64")
    for n in (2, 3):
        assert_close(two[n], whole[n], "float64")


def test_numpy_in_numpy_out_and_tensors_in_tensors_out() -> None:
    arguments = Case(name="plain").arguments("float32")
    assert isinstance(ops.lstm(**arguments), np.ndarray)
    tensors = {
        k: K.convert_to_tensor(v) if isinstance(v, np.ndarray) else v for k, v in arguments.items()
    }
    assert type(ops.lstm(**tensors)).__module__.split(".")[0] in (BACKEND, "jaxlib")


def test_an_activation_without_a_hash() -> None:
    arguments = Case(name="plain").arguments("float32")
    actual = ops.lstm(**{**arguments, "activation": Unhashable()})
    assert_close(actual, ops.lstm(**{**arguments, "activation": "tanh"}))


def test_a_small_cell_state_survives_bfloat16() -> None:
    # f = 1 and i * g = 1e-3 at every step: in bfloat16, 0.25 + 0.001 is 0.25 again.
    steps, big = 1000, 20.0
    bias = np.array([big, big, 1e-3, big], "float32")
    zeros = np.zeros((1, 4), "float32")
    arrays = {"x": np.zeros((1, steps, 1), "float32"), "kernel": zeros, "recurrent_kernel": zeros}
    c = ops.lstm(
        **{k: K.cast(v, "bfloat16") for k, v in {**arrays, "bias": bias}.items()},
        outputs="cell_state",
    )
    assert to_numpy(c)[0, 0] == pytest.approx(1.0, rel=0.01)


def test_any_number_but_zero_is_a_reset() -> None:
    arguments = Case(name="resets", resets=True).arguments("float32")
    wanted = ops.lstm(**{**arguments, "resets": arguments["resets"] != 0})
    large = np.where(arguments["resets"], 256, 0)
    assert_close(ops.lstm(**{**arguments, "resets": large}), to_numpy(wanted), "float32")
