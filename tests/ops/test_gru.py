"""`ops.gru` against a float64 reference, finite differences, and torch.nn.GRU."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops as K

from conveyor import ConveyorError, ops
from conveyor._engines import _library
from conveyor._vocabulary import GRU_STATE_NAMES
from conveyor.activations import HardSigmoid
from frameworks import assert_close, compiled, gradients, to_numpy
from grus import LARGE, SMALL, GRUCase, reference_gru
from oracles import finite_differences

ARRAYS = ("x", "kernel", "recurrent_kernel", "bias", "hidden_state")
NATIVE = _library.missing() is None
# One dtype with each: the portable engine is to be exact, the native one is what trains.
ON = (("portable", "float64"), *([("native", "float32")] if NATIVE else []))
on_each = pytest.mark.parametrize(("engine", "dtype"), ON)
both_forms = pytest.mark.parametrize("reset_after", [True, False])


@on_each
@pytest.mark.parametrize("case", SMALL + LARGE, ids=str)
def test_all_five_states(case: GRUCase, engine: str, dtype: str) -> None:
    arguments = case.arguments(dtype)
    expected = reference_gru(**arguments)
    actual = ops.gru(**arguments, outputs=GRU_STATE_NAMES, engine=engine)
    for name, value in zip(GRU_STATE_NAMES, actual, strict=True):
        assert value.dtype == dtype
        assert_close(value, expected[name], dtype)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("case", [c for c in SMALL if c.name == "dropout"], ids=str)
def test_sixteen_bits(case: GRUCase, dtype: str) -> None:
    arguments = {
        k: K.cast(v, dtype) if isinstance(v, np.ndarray) and v.dtype.kind == "f" else v
        for k, v in case.arguments("float32").items()
    }
    expected = reference_gru(
        **{k: to_numpy(v) if hasattr(v, "dtype") else v for k, v in arguments.items()}
    )
    for engine in ("auto", "portable"):
        actual = ops.gru(**arguments, outputs=GRU_STATE_NAMES, engine=engine)
        for name, value in zip(GRU_STATE_NAMES, actual, strict=True):
            assert_close(value, expected[name], dtype)


def test_a_small_update_survives_bfloat16() -> None:
    # h grows by (1 - z) g = 2e-4 a step: in bfloat16, 0.25 + 0.0002 is 0.25 again.
    steps, still = 2000, 8.5
    bias = np.array([[still, 0.0, 20.0], [0.0, 0.0, 0.0]], "float32")
    zeros = np.zeros((1, 3), "float32")
    arrays = {"x": np.zeros((1, steps, 1), "float32"), "kernel": zeros, "recurrent_kernel": zeros}
    given_ = {k: K.cast(v, "bfloat16") for k, v in {**arrays, "bias": bias}.items()}
    h = to_numpy(ops.gru(**given_, outputs="hidden_state"))
    assert h[0, 0] == pytest.approx(1 - (1 - 2.0345e-4) ** steps, abs=0.02)


@pytest.mark.parametrize(("engine", "unroll"), [("auto", False), ("portable", True)])
@pytest.mark.parametrize("case", [c for c in SMALL if c.name == "backwards"], ids=str)
def test_compiled(case: GRUCase, engine: str, unroll: bool) -> None:
    arguments = case.arguments("float32")
    given_ = {k: K.convert_to_tensor(v) for k, v in arguments.items() if isinstance(v, np.ndarray)}
    options = {k: v for k, v in arguments.items() if k not in given_}

    @compiled
    def run(given_):
        return ops.gru(**given_, **options, unroll=unroll, outputs=GRU_STATE_NAMES, engine=engine)

    expected = reference_gru(**arguments)
    for name, value in zip(GRU_STATE_NAMES, run(given_), strict=True):
        assert_close(value, expected[name])


def gradients_of(case: GRUCase, engine: str, dtype: str) -> tuple[list[str], list, list]:
    """Names, arrays, and gradients of numbers that all five states enter."""
    arguments = case.arguments(dtype)
    names = [n for n in ARRAYS if arguments[n] is not None]
    rng = np.random.default_rng(7)
    cotangents = [rng.normal(size=a.shape) for a in reference_gru(**arguments).values()]

    def run(*tensors):
        given_ = {**arguments, **dict(zip(names, tensors, strict=True))}
        return ops.gru(**given_, outputs=GRU_STATE_NAMES, engine=engine)

    return names, cotangents, gradients(run, [arguments[n] for n in names], cotangents)


@pytest.mark.parametrize("case", [c for c in SMALL if c.mask != "none"], ids=str)
def test_gradients_of_the_portable_engine_that_arrive_at_all_five(case: GRUCase) -> None:
    # Those of the core are compared with finite differences in test_gru_library.
    arguments = case.arguments("float64")
    names, cotangents, actual = gradients_of(case, "portable", "float64")

    def loss(*arrays) -> float:
        states = reference_gru(**{**arguments, **dict(zip(names, arrays, strict=True))})
        return float(sum((a * d).sum() for a, d in zip(states.values(), cotangents, strict=True)))

    arrays = [arguments[n] for n in names]
    for mine, expected in zip(actual, finite_differences(loss, arrays), strict=True):
        np.testing.assert_allclose(mine, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.skipif(not NATIVE, reason="no core")
@pytest.mark.parametrize("case", [*SMALL[:2], *LARGE[-2:]], ids=str)
def test_gradients_of_both_engines_are_the_same(case: GRUCase) -> None:
    native, portable = (gradients_of(case, *on)[-1] for on in reversed(ON))
    for mine, expected in zip(native, portable, strict=True):
        scale = max(1.0, float(np.abs(expected).max()))
        assert_close(mine / scale, expected / scale, scale=5)


@pytest.mark.skipif(not NATIVE, reason="no core")
def test_activations_that_the_core_has_from_keras_and_from_onnx() -> None:
    # Slopes of both follow from what goes in alone.
    case = GRUCase(name="others", mask="holes", initial_state=True)
    arguments = case.arguments("float32")
    arguments |= {"activation": "gelu", "recurrent_activation": HardSigmoid(0.3, 0.4)}
    cotangents = [np.ones((3, 5, 3)), np.ones((3, 5, 3))]

    def on(engine):
        def run(x, recurrent_kernel):
            given_ = {**arguments, "x": x, "recurrent_kernel": recurrent_kernel}
            return ops.gru(**given_, outputs=("hidden_states", "candidates"), engine=engine)

        arrays = [arguments["x"], arguments["recurrent_kernel"]]
        return [*run(*arrays), *gradients(run, arrays, cotangents)]

    for mine, expected in zip(on("native"), on("portable"), strict=True):
        assert_close(mine, expected)


@pytest.mark.parametrize("use_bias", [True, False])
def test_against_torch(use_bias: bool) -> None:
    torch = pytest.importorskip("torch", reason="torch is the judge here")
    arguments = GRUCase(
        name="torch", batch=4, time_steps=9, features=5, units=6, use_bias=use_bias,
        initial_state=True,
    ).arguments()  # fmt: skip

    def turned(packed):  # torch packs reset, update, candidate
        z, r, g = np.split(packed, 3, axis=-1)
        return torch.from_numpy(np.ascontiguousarray(np.concatenate([r, z, g], axis=-1).T))

    judge = torch.nn.GRU(5, 6, bias=use_bias, batch_first=True, dtype=torch.float64)
    weights = {
        "weight_ih_l0": turned(arguments["kernel"]),
        "weight_hh_l0": turned(arguments["recurrent_kernel"]),
    }
    if use_bias:
        weights |= {
            f"bias_{of}_l0": turned(b)
            for of, b in zip(("ih", "hh"), arguments["bias"], strict=True)
        }
    judge.load_state_dict(weights)
    with torch.no_grad():
        hs, h = judge(
            torch.from_numpy(arguments["x"]), torch.from_numpy(arguments["hidden_state"])[None]
        )
    actual = ops.gru(**arguments, outputs=("hidden_states", "hidden_state"))
    assert_close(actual[0], hs.numpy(), "float64")
    assert_close(actual[1], h[0].numpy(), "float64")


@both_forms
@settings(max_examples=5)
@given(lengths=st.lists(st.integers(0, 6), min_size=4, max_size=4), garbage=st.floats())
def test_padding_is_as_if_it_were_not_there(reset_after, lengths, garbage) -> None:
    case = GRUCase(
        name="padded", batch=4, time_steps=6, initial_state=True, reset_after=reset_after
    )
    arguments = case.arguments()
    for b, length in enumerate(lengths):
        arguments["x"][b, length:] = garbage
    arguments["mask"] = None
    padded = ops.gru(**arguments, lengths=np.array(lengths), outputs=GRU_STATE_NAMES)
    for b, length in enumerate(lengths):
        if length == 0:
            assert (padded[1][b] == arguments["hidden_state"][b]).all()
            continue
        alone = {**arguments, "x": arguments["x"][b : b + 1, :length]}
        alone["hidden_state"] = arguments["hidden_state"][b : b + 1]
        unpadded = ops.gru(**alone, outputs=GRU_STATE_NAMES)
        for name, p, u in zip(GRU_STATE_NAMES, padded, unpadded, strict=True):
            assert_close(
                p[b : b + 1, :length] if name.endswith("s") else p[b : b + 1], u, "float64"
            )


@both_forms
@settings(max_examples=5)
@given(
    shape=st.tuples(*(st.integers(1, n) for n in (9, 5, 20, 40))),
    mask=st.sampled_from(["none", "holes"]),
    names=st.permutations(GRU_STATE_NAMES).flatmap(
        lambda p: st.integers(1, 5).map(lambda n: p[:n])
    ),
)
def test_any_shape_and_any_outputs(reset_after, shape, mask, names) -> None:
    batch, time_steps, features, units = shape
    arguments = GRUCase(
        name="any", batch=batch, time_steps=time_steps, features=features, units=units,
        mask=mask, reset_after=reset_after,
    ).arguments()  # fmt: skip
    expected = reference_gru(**arguments)
    chosen = ops.gru(**arguments, outputs=names)
    for name, value in zip(names, chosen if len(names) > 1 else [chosen], strict=True):
        assert_close(value, expected[name], "float64")


@both_forms
def test_garbage_in_padding_leaves_gradients_alone(reset_after) -> None:
    arguments = GRUCase(name="padded", mask="right", reset_after=reset_after).arguments("float32")
    arguments["x"][~arguments["mask"]] = np.nan
    names = ("x", "kernel", "recurrent_kernel", "bias")

    def run(*tensors):
        return (ops.gru(**{**arguments, **dict(zip(names, tensors, strict=True))}),)

    clean = gradients(run, [arguments[n] for n in names], [np.ones((3, 5, 3))])
    assert all(np.isfinite(g).all() for g in clean)
    assert (clean[0][~arguments["mask"]] == 0).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"outputs": "cell_states"}, r"states of the GRU.*\n.*update_gates"),
        ({"outputs": ()}, "at least one name"),
        ({"bias": np.zeros(9)}, r"bias of shape \(2, 9\) with reset_after=True(.|\n)*False: write"),
        ({"reset_after": False}, r"bias of shape \(9,\) with reset_after=False"),
        ({"kernel": np.zeros((4, 12))}, r"kernel of shape \(4, 9\)"),
        ({"recurrent_kernel": np.zeros((3, 12))}, r"recurrent_kernel of shape \(units, 3 \* units"),
        ({"dropout_mask": np.zeros((4, 3, 4))}, r"dropout_mask of shape \(3, 4\) or \(3, 3, 4\)"),
        ({"hidden_state": np.zeros((3, 4))}, r"hidden_state of shape \(batch, units\) = \(3, 3\)"),
        ({"mask": np.ones((3, 6), bool)}, "a mask of shape"),
        ({"lengths": [1, 2, 9]}, r"lengths\[2\] = 9"),
        ({"kernel": np.zeros((4, 9), "float32")}, "all arrays in the dtype of x"),
        ({"engine": "gpu"}, "engine to be one of"),
        ({"x": np.zeros((3, 4))}, r"\(batch, time_steps, features\)"),
    ],
    ids=str,
)
def test_mistakes(change, message) -> None:
    arguments = GRUCase(name="plain").arguments() | change
    with pytest.raises(ConveyorError, match=message):
        ops.gru(**arguments)
