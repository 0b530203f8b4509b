"""The native core through ctypes: its layout, its numbers, and what it must survive."""

from __future__ import annotations

import ctypes
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cases import CASES, Case
from conveyor import ConveyorError
from conveyor._engines import _layout, _library, _linear, _native_numpy
from conveyor._engines._activations import KINDS
from conveyor._engines._options import Options
from conveyor._engines._variant import Variant
from conveyor._vocabulary import GATE_NAMES, STATE_NAMES
from frameworks import TOLERANCE
from oracles import reference_backward, reference_forward

pytestmark = pytest.mark.any_backend

HEADER = Path(__file__).parents[2] / "native/include/conveyor/lstm.h"
LINEAR = HEADER.with_name("linear.h")
needs_core = pytest.mark.skipif(_library.missing() is not None, reason=str(_library.missing()))

# ------------------------------------------------------------------------------ the header


@pytest.fixture(scope="module")
def header() -> str:
    if not HEADER.exists():
        pytest.skip("the header is not beside the tests")
    return re.sub(r"/\*.*?\*/", "", HEADER.read_text(), flags=re.DOTALL)


def enum(header: str, name: str) -> dict[str, int]:
    body = re.search(rf"enum conveyor_{name} {{(.*?)}};", header, re.DOTALL)[1]
    return {key: int(value) for key, value in re.findall(r"CONVEYOR_(\w+) = (\d+)", body)}


def struct(header: str, name: str) -> list[tuple[str, object]]:
    """Its fields as ctypes says them."""
    types = {"size_t": ctypes.c_size_t, "int32_t": ctypes.c_int32, "int64_t": ctypes.c_int64}
    types |= {"float": ctypes.c_float, "double": ctypes.c_double}
    body = re.search(rf"typedef struct {name} {{(.*?)}} {name};", header, re.DOTALL)[1]
    fields = []
    for declaration in filter(None, (d.strip() for d in body.split(";"))):
        if pointer := re.fullmatch(r"(?:const )?\w+\* (\w+)(\[CONVEYOR_STATES\])?", declaration):
            field = _layout.States if pointer[2] else ctypes.c_void_p
            fields.append((pointer[1], field))
        elif function := re.fullmatch(r"int \(\*(\w+)\)\(void\)", declaration):
            fields.append((function[1], ctypes.c_void_p))
        else:
            kind, names = declaration.split(" ", 1)
            for each in names.split(", "):
                field = each.removesuffix("[CONVEYOR_FUNCTIONS]")
                fields.append((field, types[kind] * 3 if each != field else types[kind]))
    return fields


def numbered(names) -> dict[str, int]:
    return {name: n for n, name in enumerate(names)}


def test_the_vocabulary_is_one_in_python_and_in_the_header(header: str) -> None:
    states = enum(header, "state")
    assert states.pop("STATES") == len(STATE_NAMES)
    assert states == numbered(name.upper() for name in STATE_NAMES)
    gates = enum(header, "gate")
    names = [name.upper().removesuffix("S") for name in GATE_NAMES]
    assert gates == numbered(names)
    assert enum(header, "dtype") == {k.upper(): v for k, v in _layout.DTYPES.items()}
    activations = enum(header, "activation")
    assert activations.pop("ACTIVATIONS") == len(KINDS)
    assert activations == numbered(name.upper() for name in KINDS)
    functions = enum(header, "function")
    assert functions.pop("FUNCTIONS") == len(functions) == 3
    assert enum(header, "status") == numbered(name.upper() for name in _layout.STATUSES)
    assert int(re.search(r"#define CONVEYOR_ABI (\d+)", header)[1]) == _layout.ABI


@pytest.mark.parametrize(
    ("name", "layout"),
    [
        ("conveyor_lstm", _layout.LSTM),
        ("conveyor_lstm_outputs", _layout.Outputs),
        ("conveyor_lstm_gradients", _layout.Gradients),
    ],
)
def test_structs_are_those_of_the_header(header: str, name: str, layout) -> None:
    assert struct(header, name) == list(layout._fields_)


@pytest.mark.parametrize(
    ("name", "layout", "packer"),
    [
        ("conveyor_linear", _linear.Linear, _linear._LINEAR),
        ("conveyor_cross_entropy", _linear.CrossEntropy, _linear._CROSS_ENTROPY),
        ("conveyor_top_k", _linear.TopK, _linear._TOP_K),
    ],
)
def test_structs_of_the_output_layer_are_those_of_their_header(
    header: str, name: str, layout, packer
) -> None:
    text = re.sub(r"/\*.*?\*/", "", LINEAR.read_text(), flags=re.DOTALL)
    assert struct(text, name) == list(layout._fields_)
    values = [3 * n + 1 for n, _ in enumerate(layout._fields_)]
    packed = layout.from_buffer_copy(packer.pack(*values))
    assert [getattr(packed, field) for field, _ in layout._fields_] == values


def test_packed_bytes_are_the_structs() -> None:
    variant = Variant(coupled=True, clip=1.5, cell_clip=2.5, hidden_zoneout=0.5, cell_zoneout=0.25)
    options = Options("relu", "leaky_relu(0.2)", "scaled_tanh(2.0,3.0)", True, variant)
    problem = _library.Problem("bfloat16", 2, 3, 4, 5, options, 1, 4, 7, 2, True, True, 6)
    addresses = range(11, 11 + len(_layout.INPUTS))
    packed = _layout.LSTM.from_buffer_copy(_layout.pack_lstm(problem, addresses, 99))
    numbers = [ctypes.sizeof(_layout.LSTM), 2, 3, 6, 1, 1, 4, 7, 8, 1, 2, 1, 1]
    numbers += [[0, 0.2, 2], [0, 0, 3], 1.5, 2.5, 0.5, 0.25, 2, 3, 4, 5, 6]
    got = [getattr(packed, name) for name, _ in _layout.LSTM._fields_]
    got = [list(value) if isinstance(value, ctypes.Array) else value for value in got]
    assert got == [*numbers, *addresses, 99]
    head = bytes(packed)[: _layout.LSTM.x.offset]
    assert np.array(_layout.numbers(problem), np.int64).tobytes() == head
    outputs = _layout.Outputs.from_buffer_copy(_layout.pack_outputs(80, *range(1, 9), 20))
    assert (list(outputs.states), outputs.reserve) == (list(range(1, 9)), 20)
    end = 11 + len(_layout.DIFFERENTIABLE)
    gradients = _layout.Gradients.from_buffer_copy(_layout.pack_gradients(160, *range(1, end)))
    assert (gradients.hidden_states, gradients.reserve) == (1, 2)
    assert list(gradients.d_states) == list(range(3, 11))
    assert [getattr(gradients, f"d_{n}") for n in _layout.DIFFERENTIABLE] == list(range(11, end))


# ----------------------------------------------------------------------------- the numbers


def as_problem(arguments, **changed) -> _library.Problem:
    batch, time_steps, features = arguments["x"].shape
    masks = {
        f"{n}s": 0 if arguments[n] is None else {2: 1, 3: 4}[arguments[n].ndim]
        for n in ("dropout_mask", "recurrent_dropout_mask")
    }
    activation = arguments["activation"]
    options = Options(
        activation, arguments["recurrent_activation"], activation, arguments["go_backwards"]
    )
    units = arguments["recurrent_kernel"].shape[0]
    dtype = arguments["x"].dtype.name
    shape = (batch, time_steps, features, units)
    return _library.Problem(dtype, *shape, options, **masks, **changed)


def forward(arguments, names=STATE_NAMES, **changed):
    inputs = {n: arguments.get(n) for n in _library.INPUTS}
    states, _ = _native_numpy.forward(as_problem(arguments, **changed), inputs, names)
    return states


def close(actual, expected, dtype: str, scale: float = 1.0, what: str = "") -> None:
    tolerance = TOLERANCE[dtype] * scale
    actual = np.asarray(actual, "float64")
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance, err_msg=what)


def exactly(arguments):
    """The numbers that an engine sees, for a reference that sees more digits."""
    return {
        n: a.astype("float64") if isinstance(a, np.ndarray) and n != "mask" else a
        for n, a in arguments.items()
    }


@needs_core
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_states_and_gradients(case: Case, dtype: str) -> None:
    arguments = case.arguments(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    inputs = {n: arguments.get(n) for n in _library.INPUTS}
    if case.resets and case.go_backwards:  # the core has them where it reads, as ops.lstm sees to
        inputs["resets"] = np.pad(arguments["resets"][:, 1:], ((0, 0), (0, 1)))
    problem = as_problem(arguments)
    states, reserve = _native_numpy.forward(problem, inputs, STATE_NAMES, reserve=True)
    reference = exactly(arguments)
    for name, expected in reference_forward(**reference).items():
        close(states[name], expected, dtype, what=name)
    if dtype == "bfloat16" and case.activation != "tanh":
        return  # the states themselves grow without bound there
    rng = np.random.default_rng(7)
    d_states = {n: rng.normal(size=s.shape).astype(s.dtype) for n, s in states.items()}
    expected = reference_backward(exactly(d_states), **reference)
    names = [n for n in expected if arguments[n] is not None]
    hidden_states = states["hidden_states"]
    actual = _native_numpy.backward(problem, inputs, hidden_states, reserve, d_states, names)
    for name in names:
        size = max(1.0, float(np.abs(expected[name]).max()))
        close(actual[name] / size, expected[name] / size, dtype, scale=5, what=name)


def layouts(array: np.ndarray):
    """The same numbers, laid out in ways that no kernel wants."""
    wide = np.full((*array.shape[:-1], 2 * array.shape[-1] + 1), 7, array.dtype)
    wide[..., 1::2] = array
    yield wide[..., 1::2]
    yield np.asfortranarray(array)
    yield array[..., ::-1].copy()[..., ::-1]
    bytes_ = np.concatenate([np.zeros(1, "uint8"), array.reshape(-1).view("uint8")])
    yield bytes_[1:].view(array.dtype).reshape(array.shape)  # not aligned
    yield array.astype(array.dtype.newbyteorder())
    read_only = array.copy()
    read_only.flags.writeable = False
    yield read_only


@needs_core
def test_layouts() -> None:
    arguments = next(c for c in CASES if c.name == "everything_odd").arguments("float32")
    expected = forward(arguments)
    for name in _library.INPUTS:
        if arguments.get(name) is None:
            continue
        for array in layouts(arguments[name]):
            actual = forward({**arguments, name: array})
            for state in STATE_NAMES:
                assert (actual[state] == expected[state]).all(), (name, state)


# With relu and linear, see CASES, float32 soon ends where float64 does not.
bounded = st.sampled_from(["tanh", "sigmoid", "hard_sigmoid"])
special = st.sampled_from([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-40, 3e4])


@needs_core
@given(
    shape=st.tuples(st.integers(0, 5), *[st.integers(1, 20)] * 3),
    seed=st.integers(0, 9),
    mask=st.sampled_from(["none", "right", "left", "holes", "row_all_masked"]),
    activation=bounded,
    recurrent_activation=bounded,
    values=st.lists(st.tuples(st.sampled_from(["x", "kernel", "bias"]), special), max_size=3),
    go_backwards=st.booleans(),
    threads=st.integers(0, 3),
)
@example((2, 3, 1, 16), 0, "none", "tanh", "sigmoid", [("kernel", np.inf)], False, 1)
@example((0, 1, 1, 1), 0, "none", "tanh", "sigmoid", [], False, 0)
def test_any_shape_mask_and_value(
    shape, seed, mask, activation, recurrent_activation, values, go_backwards, threads
) -> None:
    batch, time_steps, features, units = shape
    case = Case(
        name="any",
        batch=max(batch, 1),
        time_steps=time_steps,
        features=features,
        units=units,
        mask=mask,
        initial_states=True,
        go_backwards=go_backwards,
        activation=activation,
        recurrent_activation=recurrent_activation,
        seed=seed,
    )
    arguments = case.arguments("float32")
    rng = np.random.default_rng(seed)
    for name, value in values:
        array = arguments[name]
        array.flat[rng.integers(array.size)] = value
    for name in ("x", "mask", "hidden_state", "cell_state"):
        if arguments[name] is not None:
            arguments[name] = arguments[name][:batch]
    with np.errstate(invalid="ignore"):
        expected = reference_forward(**exactly(arguments))
    actual = forward(arguments, threads=threads)
    for name in STATE_NAMES:
        close(actual[name], expected[name], "float32", scale=10, what=name)


@needs_core
@given(
    value=st.sampled_from([np.nan, np.inf, 1e38]),
    shape=st.tuples(st.integers(1, 9), *[st.integers(1, 40)] * 3),
    mask=st.sampled_from(["right", "left", "holes", "row_all_masked", "all_masked"]),
)
def test_a_step_that_is_skipped_is_not_read(value, shape, mask) -> None:
    batch, time_steps, features, units = shape
    case = Case(
        name="any", batch=batch, time_steps=time_steps, features=features, units=units, mask=mask
    )
    results = []
    for filling in (0.0, value):
        arguments = case.arguments("float32")
        arguments["x"][~arguments["mask"]] = filling
        inputs = {n: arguments.get(n) for n in _library.INPUTS}
        problem = as_problem(arguments)
        states, reserve = _native_numpy.forward(problem, inputs, STATE_NAMES, reserve=True)
        hidden_states = states["hidden_states"]
        names = ("x", "kernel", "recurrent_kernel", "bias")
        d_states = {"hidden_states": np.ones_like(hidden_states)}
        d = _native_numpy.backward(problem, inputs, hidden_states, reserve, d_states, names)
        results.append({**states, **{f"d_{n}": a for n, a in d.items()}})
    for name, array in results[0].items():
        assert (array == results[1][name]).all(), name


@needs_core
@pytest.mark.parametrize(("batch", "features"), [(0, 3), (2, 0), (0, 0)])
def test_nothing_at_all(batch: int, features: int) -> None:
    arguments = Case(name="plain", batch=2, features=3).arguments("float64")
    arguments["x"] = arguments["x"][:batch]
    silent = {**arguments, "x": arguments["x"] * (features > 0)}  # no features are zeros
    arguments |= {"x": arguments["x"][..., :features], "kernel": arguments["kernel"][:features]}
    inputs = {n: arguments.get(n) for n in _library.INPUTS}
    problem = as_problem(arguments)
    states, reserve = _native_numpy.forward(problem, inputs, STATE_NAMES, reserve=True)
    for name, expected in reference_forward(**silent).items():
        close(states[name], expected, "float64")
    d_states = {"hidden_states": np.ones_like(states["hidden_states"])}
    expected = reference_backward(d_states, **silent)
    names = ("x", "kernel", "recurrent_kernel", "bias")
    d = _native_numpy.backward(problem, inputs, states["hidden_states"], reserve, d_states, names)
    for name in names:
        assert d[name].shape == arguments[name].shape
        if d[name].size:
            close(d[name], expected[name], "float64", scale=10)


# ------------------------------------------------------------------------------ its limits


@needs_core
@pytest.mark.parametrize("shape", [(2**40, 2**20, 1, 16), (1, 2**62, 1, 1), (1, 1, 1, 2**60)])
def test_a_size_that_fits_no_address_is_a_memory_error(shape) -> None:
    problem = _library.Problem("float32", *shape)
    with pytest.raises(MemoryError):
        _library.reserve_bytes(problem)
    with pytest.raises(MemoryError):
        _native_numpy.forward(problem, {}, STATE_NAMES)


@needs_core
def test_what_the_core_refuses_is_said() -> None:
    with pytest.raises(ConveyorError, match="kernel: null"):
        _library.forward(_library.Problem("float32", 1, 1, 1, 1), {}, {})


@needs_core
def test_many_python_threads_at_once() -> None:
    arguments = [
        Case(name="any", units=u, time_steps=30, seed=u).arguments("float32") for u in range(1, 9)
    ]
    expected = [forward(a)["hidden_states"] for a in arguments]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            for e, a in zip(expected, pool.map(forward, arguments), strict=True):
                assert (a["hidden_states"] == e).all()


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("CONVEYOR_TARGET", "avx9", "none of scalar"),
        ("CONVEYOR_NUM_THREADS", "0", "no number of threads"),
        ("CONVEYOR_NUM_THREADS", "many", "no number of threads"),
        ("CONVEYOR_NUM_THREADS", "-2", "no number of threads"),
        ("CONVEYOR_NUM_THREADS", "1.5", "no number of threads"),
        ("CONVEYOR_NUM_THREADS", "4294967297", "no number of threads"),  # 2^32 + 1, in C: 1
    ],
)
@needs_core
def test_an_environment_that_makes_no_sense_is_a_reason(monkeypatch, name, value, reason) -> None:
    monkeypatch.setenv(name, value)
    monkeypatch.setattr(_library, "_loaded", None)
    assert f"{name}={value}" in _library.missing()
    assert reason in _library.missing()
    assert "leave it out for" in _library.missing()
    with pytest.raises(ConveyorError, match="the native engine is not there"):
        _library.target()


class OldProcessor:
    """A core that was loaded where AVX2 is all there is."""

    names = (b"scalar", b"avx2", b"avx512")
    used = b"avx2"

    def conveyor_target_count(self) -> int:
        return len(self.names)

    def conveyor_target_name(self, n: int) -> bytes:
        return self.names[n]

    def conveyor_target_missing(self, n: int) -> bytes:
        return b"this processor lacks AVX-512F" if self.names[n] == b"avx512" else b""

    def conveyor_set_target(self, n: int) -> int:
        self.used = self.names[n]
        return 0


def test_a_target_that_the_processor_lacks_is_refused(monkeypatch) -> None:
    core = OldProcessor()
    monkeypatch.setenv("CONVEYOR_TARGET", "avx512")
    assert _library._configure(core) == (
        "CONVEYOR_TARGET=avx512: this processor lacks AVX-512F; "
        "leave it out for the fastest instruction set that runs here"
    )
    assert core.used == b"avx2"
    monkeypatch.setenv("CONVEYOR_TARGET", "scalar")
    assert _library._configure(core) is core
    assert core.used == b"scalar"


@needs_core
def test_conveyor_num_threads_goes_before_the_framework(monkeypatch) -> None:
    before = _library.threads()
    assert _library.threads_beside(3) == 3
    monkeypatch.setenv("CONVEYOR_NUM_THREADS", str(before))  # which changes nothing
    monkeypatch.setattr(_library, "_loaded", None)
    monkeypatch.setattr(_library, "_number_of_threads", None)
    assert _library.missing() is None
    assert _library.threads_beside(3) == 0


# --------------------------------------------------------------------- Ctrl-C, in a process

LONG_CALLS = """
import os, signal, sys, threading, time
import numpy as np
from conveyor._engines import _library, _native_numpy

signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a job of the background
units = int(sys.argv[1])
rng = np.random.default_rng(0)
kernel, recurrent_kernel = (rng.normal(size=(n, 4 * units)).astype("float32") for n in (1, units))

def call(time_steps):
    x = np.ones((1, time_steps, 1), "float32")
    problem = _library.Problem("float32", 1, time_steps, 1, units)
    inputs = {"x": x, "kernel": kernel, "recurrent_kernel": recurrent_kernel}
    return _native_numpy.forward(problem, inputs, ["hidden_state"])[0]["hidden_state"]

def after(seconds, then):
    timer = threading.Timer(seconds, then)
    timer.start()

def sigint():
    global sent
    sent = time.monotonic()
    os.kill(os.getpid(), signal.SIGINT)

def seconds():
    began = time.monotonic()
    call(2000)
    return time.monotonic() - began

# As many steps as take a quarter of a second, whatever the engine, and half a minute. The least of
# several: something else may run here.
steps = int(500 / min(seconds() for _ in range(5))) + 1
long = 120 * steps
few = steps // 12 + 1
expected = call(few)

for _ in range(2):  # it works again after the first time
    after(0.2, sigint)
    try:
        call(long)
    except KeyboardInterrupt:
        print("interrupted", time.monotonic() - sent < 1)

class Stop(BaseException):
    pass

def stop(*_):
    raise Stop

signal.signal(signal.SIGALRM, stop)
signal.setitimer(signal.ITIMER_REAL, 0.2)
try:
    call(long)
except Stop:
    print("stopped")

calls = []

def once_more(*_):
    calls.append(call(few))
    signal.setitimer(signal.ITIMER_REAL, 0.05)  # not before: a handler can be interrupted, too

signal.signal(signal.SIGALRM, once_more)
while len(calls) < 3:  # within one call; where it was shorter than it promised, in a longer one
    calls.clear()
    steps *= 2
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    whole = call(steps)
    signal.setitimer(signal.ITIMER_REAL, 0)
print("went on", all((c == expected).all() for c in calls))
print("unharmed", bool((whole == call(steps)).all()))

results, done = [], threading.Event()

def work():
    results.append(call(steps))
    done.set()

threading.Thread(target=work).start()
after(0.1, sigint)
try:
    done.wait()
except KeyboardInterrupt:
    print("main thread", not results)
done.wait()
print("worker", bool((results[0] == whole).all()))

child = os.fork()
if child == 0:
    os._exit(0 if (call(few) == expected).all() else 1)
print("fork", os.waitpid(child, 0)[1] == 0)
"""


@needs_core
@pytest.mark.any_backend
@pytest.mark.skipif(sys.platform == "win32", reason="sends signals to itself")
@pytest.mark.parametrize("units", [64, 256])  # by one thread; by several, who stop together
def test_signals_during_a_long_call(units: int) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", LONG_CALLS, str(units)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.stdout.splitlines() == [
        "interrupted True",
        "interrupted True",
        "stopped",
        "went on True",
        "unharmed True",
        "main thread True",
        "worker True",
        "fork True",
    ], ran.stderr
    assert "Traceback" not in ran.stderr
