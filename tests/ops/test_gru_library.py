"""The GRU of the native core through ctypes, on every instruction set, against the reference."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path

import numpy as np
import pytest

from conveyor import ConveyorError
from conveyor._engines import _gru_library, _library, _native_gru
from conveyor._engines._gru_options import GRUOptions
from conveyor._vocabulary import GRU_STATE_NAMES
from frameworks import TOLERANCE
from grus import LARGE, SMALL, GRUCase, reference_gru
from oracles import finite_differences

pytestmark = [
    pytest.mark.any_backend,
    pytest.mark.skipif(_library.missing() is not None, reason=str(_library.missing())),
]
TARGETS = [] if _library.missing() else [n for n, lacks in _library.targets().items() if not lacks]
HEADER = Path(__file__).parents[2] / "native/include/conveyor/gru.h"


@pytest.fixture(params=TARGETS)
def _target(request):
    core, names = _library._core(), list(_library.targets())
    before = core.conveyor_target()
    core.conveyor_set_target(names.index(request.param))
    yield
    core.conveyor_set_target(before)


def read(case: GRUCase, dtype: str, **changed):
    arguments = case.arguments(dtype) | changed
    if arguments["resets"] is not None and case.go_backwards:  # as `ops.gru` hands them over
        arguments["resets"] = np.pad(arguments["resets"][:, 1:], ((0, 0), (0, 1)))
    names = ("activation", "recurrent_activation", "reset_after", "go_backwards")
    options = GRUOptions(**{n: arguments.pop(n) for n in names})
    return arguments, _native_gru.problem_of(dtype, arguments, options)


def close(actual, expected, dtype: str, scale: float = 1.0) -> None:
    expected = np.asarray(expected, "float64")
    size = max(1.0, float(np.abs(expected).max(initial=0))) * scale
    np.testing.assert_allclose(
        np.asarray(actual, "float64") / size, expected / size, atol=TOLERANCE[dtype]
    )


@pytest.mark.usefixtures("_target")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", SMALL + LARGE, ids=str)
def test_every_state(case: GRUCase, dtype: str) -> None:
    arrays, problem = read(case, dtype)
    states, _ = _native_gru.forward(problem, arrays, GRU_STATE_NAMES, reserve=True)
    expected = reference_gru(**case.arguments(dtype))
    for name in GRU_STATE_NAMES:
        close(states[name], expected[name], dtype)
    one, _ = _native_gru.forward(problem, arrays, ["hidden_state"])
    assert (one["hidden_state"] == states["hidden_state"]).all()


@pytest.mark.usefixtures("_target")
@pytest.mark.parametrize("case", SMALL, ids=str)
def test_every_gradient(case: GRUCase) -> None:
    arrays, problem = read(case, "float64")
    names = [n for n in _gru_library.DIFFERENTIABLE if arrays[n] is not None]
    rng = np.random.default_rng(1)
    d_states = {n: rng.normal(size=a.shape) for n, a in reference_gru(**case.arguments()).items()}

    def loss(*given) -> float:
        states = reference_gru(**{**case.arguments(), **dict(zip(names, given, strict=True))})
        return float(sum((states[n] * d).sum() for n, d in d_states.items()))

    states, reserve = _native_gru.forward(problem, arrays, ["hidden_states"], reserve=True)
    actual = _native_gru.backward(
        problem, arrays, states["hidden_states"], reserve, d_states, names
    )
    expected = finite_differences(loss, [arrays[n] for n in names])
    for name, gradient in zip(names, expected, strict=True):
        np.testing.assert_allclose(actual[name], gradient, rtol=1e-6, atol=1e-6, err_msg=name)


def gradients_of(case: GRUCase, dtype: str, threads: int = 0):
    arrays, problem = read(case, dtype)
    problem = type(problem)(**{**vars(problem), "threads": threads})
    names = [n for n in _gru_library.DIFFERENTIABLE if arrays[n] is not None]
    rng = np.random.default_rng(1)
    d_states = {n: rng.normal(size=problem.state_shape(n)).astype(dtype) for n in GRU_STATE_NAMES}
    states, reserve = _native_gru.forward(problem, arrays, ["hidden_states"], reserve=True)
    return _native_gru.backward(problem, arrays, states["hidden_states"], reserve, d_states, names)


@pytest.mark.usefixtures("_target")
@pytest.mark.parametrize("case", LARGE, ids=str)
def test_gradients_of_larger_ones_are_those_of_another_dtype(case: GRUCase) -> None:
    # Lanes, rows and remainders are others there; JAX's and torch's tests compare with autograd.
    exact = gradients_of(case, "float64")
    for name, gradient in gradients_of(case, "float32").items():
        close(gradient, exact[name], "float32", scale=5)


@pytest.mark.parametrize("reset_after", [True, False])
@pytest.mark.parametrize(("batch", "units"), [(64, 24), (3, 300)], ids=["rows", "units"])
def test_threads_change_nothing(reset_after, batch, units) -> None:
    case = GRUCase(
        name="team", batch=batch, units=units, time_steps=12, features=40, mask="holes",
        recurrent_dropout="per_gate", resets=True, initial_state=True, reset_after=reset_after,
    )  # fmt: skip
    one, two = (gradients_of(case, "float32", threads) for threads in (1, 2))
    for name, gradient in one.items():
        close(two[name], gradient, "float32")


def test_the_structs_are_those_of_the_header() -> None:
    text = re.sub(r"/\*.*?\*/", "", HEADER.read_text(), flags=re.DOTALL)
    types = {"int32_t": ctypes.c_int32, "int64_t": ctypes.c_int64, "size_t": ctypes.c_size_t}
    types |= {"double": ctypes.c_double}
    for name, layout in (
        ("conveyor_gru", _gru_library.GRU),
        ("conveyor_gru_outputs", _gru_library.Outputs),
        ("conveyor_gru_gradients", _gru_library.Gradients),
    ):
        body = re.search(rf"typedef struct {name} {{(.*?)}} {name};", text, re.DOTALL)[1]
        fields = []
        for declaration in filter(None, (" ".join(d.split()) for d in body.split(";"))):
            if pointer := re.fullmatch(r"(?:const )?\w+\* (\w+)(\[\w+\])?", declaration):
                kind = _gru_library.States if pointer[2] else ctypes.c_void_p
                fields.append((pointer[1], kind))
            elif function := re.fullmatch(r"int \(\*(\w+)\)\(void\)", declaration):
                fields.append((function[1], ctypes.c_void_p))
            else:
                kind, names = declaration.split(" ", 1)
                for n in names.split(", "):
                    field = n.removesuffix("[2]")
                    fields.append((field, types[kind] * 2 if n != field else types[kind]))
        assert fields == list(layout._fields_)


def test_a_result_that_lies_on_an_input_is_refused() -> None:
    arrays, problem = read(GRUCase(name="plain"), "float32")
    x = arrays["x"].ctypes.data
    inputs = {n: a.ctypes.data for n, a in arrays.items() if a is not None}
    with pytest.raises(ConveyorError, match="hidden_states: overlaps x"):
        _gru_library.forward(problem, inputs, {"hidden_states": x})
    wrong = type(problem)(**{**vars(problem), "dropout_masks": 4})
    with pytest.raises(ConveyorError, match="0, 1 or 3"):
        _gru_library.forward(wrong, inputs, {})
