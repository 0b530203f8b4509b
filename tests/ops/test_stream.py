"""One step at a time is what the whole sequence is."""

from __future__ import annotations

import copy
import gc
import tracemalloc

import ml_dtypes
import numpy as np
import pytest

from cases import CASES, Case
from conveyor import ConveyorError
from conveyor._engines import _library, _stream_library
from conveyor.ops._stream import LSTMStream
from frameworks import TOLERANCE, Unhashable
from oracles import reference_forward
from variants import VARIANTS, Variant, reference

WEIGHTS = ("kernel", "recurrent_kernel", "bias")
OPTIONS = ("activation", "recurrent_activation")

# Streams read on, in one order, and know no masks.
STREAMED = [
    c
    for c in CASES
    if c.mask == c.dropout == c.recurrent_dropout == "none" and not c.go_backwards | c.resets
]


@pytest.fixture(params=["native", "portable"])
def engine(request) -> str:
    if request.param == "native" and _library.missing() is not None:
        pytest.skip(str(_library.missing()))
    return request.param


def stream_of(case: Case, engine: str, dtype="float32"):
    arguments = case.arguments(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    weights = (arguments[n] for n in WEIGHTS)
    options = {n: arguments[n] for n in OPTIONS}
    return LSTMStream(*weights, **options, batch=case.batch, engine=engine), arguments


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("case", STREAMED, ids=str)
def test_every_step(case: Case, dtype: str, engine: str) -> None:
    stream, arguments = stream_of(case, engine, dtype)
    exact = {
        n: a.astype("float64") if isinstance(a, np.ndarray) else a for n, a in arguments.items()
    }
    expected = reference_forward(**exact)
    if case.initial_states:
        stream.states = arguments["hidden_state"], arguments["cell_state"]
    tolerance = {"rtol": TOLERANCE[dtype], "atol": TOLERANCE[dtype]}
    for t in range(case.time_steps):
        h = stream.step(arguments["x"][:, t])
        assert h is stream.hidden_state
        assert h.dtype == dtype
        h, c = (np.asarray(a, "float64") for a in (h, stream.cell_state))
        np.testing.assert_allclose(h, expected["hidden_states"][:, t], **tolerance)
        np.testing.assert_allclose(c, expected["cell_states"][:, t], **tolerance)


BEYOND = [
    v
    for v in VARIANTS
    if v.case.name in ("tiny", "one_row") and not {"hidden_zoneout", "cell_zoneout"} & {*v.parts}
]
NOT_OF_A_STREAM = (
    "x",
    "mask",
    "hidden_state",
    "cell_state",
    "dropout_mask",
    "recurrent_dropout_mask",
    "resets",
    "go_backwards",
)


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("variant", BEYOND, ids=str)
def test_every_step_beyond_the_plain_lstm(variant: Variant, dtype: str, engine: str) -> None:
    arguments = variant.arguments(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    exact = {n: np.asarray(a, "float64") if isinstance(a, np.ndarray) else a
             for n, a in arguments.items()}  # fmt: skip
    expected = reference(**exact)
    stream = LSTMStream(
        **{n: a for n, a in arguments.items() if n not in NOT_OF_A_STREAM},
        batch=variant.case.batch,
        engine=engine,
    )
    assert stream.explain_engine() == f"{engine} engine"
    if arguments["hidden_state"] is not None:
        stream.states = arguments["hidden_state"], arguments["cell_state"]
    tolerance = {"rtol": TOLERANCE[dtype], "atol": TOLERANCE[dtype]}
    for t in range(variant.case.time_steps):
        h, c = stream.step(arguments["x"][:, t]), stream.cell_state
        assert h.dtype == dtype
        for state, name in ((h, "hidden_states"), (c, "cell_states")):
            np.testing.assert_allclose(state.astype("float64"), expected[name][:, t], **tolerance)


def test_one_row_with_and_without_its_batch_axis(engine) -> None:
    case = Case(name="one row", batch=1)
    (x,) = case.arguments("float32")["x"]
    results = []
    for feed in (lambda s, x: s.step(x), lambda s, x: s.step(x[None])[0], in_place):
        stream, _ = stream_of(case, engine)
        results.append(np.stack([feed(stream, row).copy() for row in x]))
    assert results[0].shape == (case.time_steps, case.units)
    assert (results[0] == results[1]).all()
    assert (results[0] == results[2]).all()


def in_place(stream, x):
    stream.input[0] = x
    return stream.step(stream.input)[0]


def test_rows_are_sequences_of_their_own(engine) -> None:
    case = Case(name="rows", batch=4, time_steps=6)
    stream, arguments = stream_of(case, engine)
    x = arguments["x"]
    for t in range(3):
        stream.step(x[:, t])
    stream.reset([1, 3])
    for t in range(3, 6):
        stream.step(x[:, t])
    whole, late = (
        reference_forward(**{**arguments, "x": part})["hidden_state"] for part in (x, x[:, 3:])
    )
    np.testing.assert_allclose(stream.hidden_state[[0, 2]], whole[[0, 2]], atol=1e-5)
    np.testing.assert_allclose(stream.hidden_state[[1, 3]], late[[1, 3]], atol=1e-5)
    stream.reset()
    assert not stream.hidden_state.any()
    assert not stream.cell_state.any()


def test_states_are_copies_from_which_to_go_on(engine) -> None:
    stream, arguments = stream_of(Case(name="plain"), engine)
    stream.step(arguments["x"][:, 0])
    states = stream.states
    first = stream.step(arguments["x"][:, 1]).copy()
    other, _ = stream_of(Case(name="plain"), engine)
    other.states = states
    assert (other.step(arguments["x"][:, 1]) == first).all()


def test_the_weights_are_copies(engine) -> None:
    stream, arguments = stream_of(Case(name="plain"), engine)
    expected = stream.step(arguments["x"][:, 0]).copy()
    for name in WEIGHTS:
        arguments[name][...] = np.nan
    gc.collect()
    stream.reset()
    assert (stream.step(arguments["x"][:, 0]) == expected).all()


def test_arrays_of_any_layout(engine) -> None:
    stream, arguments = stream_of(Case(name="plain"), engine)
    x = arguments["x"][:, 0].copy()
    expected = stream.step(x).copy()
    wide = np.zeros((3, 9), "float32")
    wide[:, 1::2] = x
    x.flags.writeable = False
    for same in (x, np.asfortranarray(x), wide[:, 1::2]):
        stream.reset()
        assert (stream.step(same) == expected).all()
    weights = (np.asfortranarray(arguments[n]).astype(">f4") for n in WEIGHTS)
    assert (LSTMStream(*weights, batch=3, engine=engine).step(x) == expected).all()


def test_a_step_allocates_nothing() -> None:
    if _library.missing() is not None:
        pytest.skip(str(_library.missing()))
    stream, arguments = stream_of(Case(name="plain"), "native")
    x = arguments["x"][:, 0]
    stream.step(x)
    tracemalloc.start()
    try:
        before = tracemalloc.take_snapshot()
        for _ in range(100):
            stream.step(x)
        after = tracemalloc.take_snapshot()
    finally:
        tracemalloc.stop()
    grown = [s for s in after.compare_to(before, "lineno") if "_stream" in str(s.traceback)]
    assert sum(s.size_diff for s in grown) < 1000


def test_the_core_gets_its_memory_back(monkeypatch) -> None:
    if _library.missing() is not None:
        pytest.skip(str(_library.missing()))
    freed = []
    monkeypatch.setattr(_stream_library, "free", freed.append)
    stream, _ = stream_of(Case(name="plain"), "native")
    (address,) = [a.value for a in stream._arguments[:1]]
    del stream
    gc.collect()
    assert freed == [address]


def test_it_says_which_engine_runs(monkeypatch) -> None:
    weights = [Case(name="plain").arguments("float32")[n] for n in WEIGHTS]
    assert LSTMStream(*weights, engine="portable").explain_engine() == "portable engine"
    if _library.missing() is None:
        assert LSTMStream(*weights).explain_engine() == "native engine"
    monkeypatch.setattr(_library, "_loaded", "it was not built")
    explained = LSTMStream(*weights).explain_engine()
    assert explained == "portable engine\n  not native: it was not built"
    with pytest.raises(ConveyorError, match="it was not built"):
        LSTMStream(*weights, engine="native")


@pytest.mark.parametrize(
    ("x", "expected", "got"),
    [
        (np.zeros((1, 5), "float32"), "(1, 4) or (4,) in float32", "shape (1, 5) in float32"),
        (np.zeros((2, 4), "float32"), "(1, 4) or (4,) in float32", "shape (2, 4) in float32"),
        (np.zeros(4), "in float32", "in float64"),
        (np.zeros(1, "float32"), "(1, 4)", "shape (1,)"),
        ([0.0] * 4, "a NumPy array", "list"),
    ],
)
def test_a_wrong_step_is_refused(x, expected: str, got: str) -> None:
    stream, _ = stream_of(Case(name="one row", batch=1), "portable")
    with pytest.raises(ConveyorError) as error:
        stream.step(x)
    for part in (expected, got, "np.asarray"):
        assert part in str(error.value)


K, R, B = (np.zeros(shape, "float32") for shape in ((4, 12), (3, 12), (12,)))


@pytest.mark.parametrize(
    ("weights", "options", "message"),
    [
        ((K[0], R, B), {}, "kernel of shape (features, 4 * units)"),
        ((K[:, :8], R, B), {}, "kernel of shape (4, 12)"),
        ((K, R.T, B), {}, "recurrent_kernel of shape (units, 4 * units)"),
        ((K, R, B[:3]), {}, "bias of shape (12,)"),
        ((K, R.astype("float64"), B), {}, "recurrent_kernel in float64"),
        ((K.tolist(), R, B), {}, "kernel to be an array"),
        ((K.astype("float16"), R.astype("float16"), None), {}, "weights in float32"),
        ((K, R, B), {"batch": 0}, "batch to be a positive number"),
        ((K, R, B), {"activation": "softmax"}, "activation to be one of Keras's"),
        ((K, R, B), {"activation": Unhashable()}, "activation to be one of Keras's"),
        ((K, R, B), {"engine": "fast"}, "engine to be one of"),
        ((K, R, B), {"cell_zoneout": np.zeros((1, 1, 3), bool)}, "cell_zoneout to be a number"),
        ((K, R, B), {"peephole": np.zeros(3, "float32")}, "peephole of shape (9,)"),
        ((K, R, B), {"clip": -1.0}, "clip to be a positive number"),
        ((K, R, B), {"coupled": True}, "3 * units"),
    ],
)
def test_wrong_weights_are_refused(weights, options, message: str) -> None:
    with pytest.raises(ConveyorError) as error:
        LSTMStream(*weights, **options)
    assert message in str(error.value)


def test_states_of_another_shape_are_refused() -> None:
    stream = LSTMStream(K, R, B)
    with pytest.raises(ConveyorError, match=r"hidden_state of shape \(batch, units\) = \(1, 3\)"):
        stream.states = np.zeros(3), np.zeros(3)


def test_no_copy_shares_what_the_core_holds() -> None:
    stream = LSTMStream(K, R, B)
    for duplicate in (copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match=r"other\.states = stream\.states"):
            duplicate(stream)
    with pytest.raises(ValueError, match="does not own"):
        stream.input.resize((9, 9), refcheck=False)
