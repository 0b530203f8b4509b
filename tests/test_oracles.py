"""The judges are judged by one another: no two of them share an equation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

from cases import CASES, Case, MaskKind
from conveyor._vocabulary import FINAL_STATE_NAMES, GATE_NAMES, STATE_NAMES, StateName
from oracles import (
    Array,
    block_lstm_v2,
    finite_differences,
    reference_backward,
    reference_forward,
    torch_lstm,
)

INPUT_NAMES = ("x", "kernel", "recurrent_kernel", "bias", "hidden_state", "cell_state")


def named(cases: list[Case]) -> pytest.MarkDecorator:
    assert cases, "no case is left to test"
    return pytest.mark.parametrize("case", cases, ids=str)


def foreign_lstms_know(case: Case) -> bool:
    usual = (case.activation, case.recurrent_activation) == ("tanh", "sigmoid")
    # Nothing is left of a sequence all masked; test_masked_steps_repeat has those.
    return usual and case.mask != "all_masked" and not case.resets


def unpadded(case: Case, row: int) -> tuple[dict[str, Any], NDArray[np.int_]]:
    """One row as a plain LSTM would be given it, and the steps that are left of it.

    Masked steps are cut out, a backward sequence is turned, and a dropout mask, being constant
    over time, is multiplied into the weights.
    """
    a = case.arguments()
    x, mask = a["x"][row], a["mask"]
    steps = np.arange(case.time_steps) if mask is None else np.flatnonzero(mask[row])
    if case.go_backwards:
        steps = steps[::-1]

    def with_dropout(kernel: Array, dropout_mask: Array | None) -> Array:
        if dropout_mask is None:
            return kernel
        per_gate = np.broadcast_to(dropout_mask, (4, case.batch, len(kernel)))[:, row]
        return kernel * np.repeat(per_gate, case.units, axis=0).T

    arguments = {
        "x": x[steps][None],
        "kernel": with_dropout(a["kernel"], a["dropout_mask"]),
        "recurrent_kernel": with_dropout(a["recurrent_kernel"], a["recurrent_dropout_mask"]),
        "bias": a["bias"],
        "hidden_state": None if a["hidden_state"] is None else a["hidden_state"][[row]],
        "cell_state": None if a["cell_state"] is None else a["cell_state"][[row]],
    }
    # In processing order, as the time axis of every output is.
    return arguments, case.time_steps - 1 - steps if case.go_backwards else steps


# ---------------------------------------------------------------------------------- forward


@named([case for case in CASES if foreign_lstms_know(case)])
def test_reference_is_torch(case: Case) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    reference = reference_forward(**case.arguments())
    for row in range(case.batch):
        arguments, steps = unpadded(case, row)
        if not steps.size:
            continue  # torch refuses an empty sequence
        expected = torch_lstm(**arguments)
        hidden_states = reference["hidden_states"][row, steps]
        assert_allclose(hidden_states, expected["hidden_states"][0], rtol=1e-10, atol=1e-10)
        for name in FINAL_STATE_NAMES:
            assert_allclose(reference[name][row], expected[name][0], rtol=1e-10, atol=1e-10)


@named([case for case in CASES if foreign_lstms_know(case)])
def test_reference_is_block_lstm_v2(case: Case) -> None:
    pytest.importorskip("tensorflow", reason="tensorflow is not installed")
    reference = reference_forward(**case.arguments())
    rows = range(min(case.batch, 4))  # a call costs milliseconds
    for row in rows:
        arguments, steps = unpadded(case, row)
        if not steps.size:
            continue
        for name, expected in block_lstm_v2(**arguments).items():
            assert_allclose(reference[name][row, steps], expected[0], rtol=1e-5, atol=1e-5)


@named([case for case in CASES if case.resets and case.dropout == "none"])
def test_a_reset_cuts_a_sequence_in_two(case: Case) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    resets = case.arguments()["resets"]
    reference = reference_forward(**case.arguments())
    for row in range(case.batch):
        arguments, places = unpadded(case, row)
        steps = case.time_steps - 1 - places if case.go_backwards else places
        # How many cuts lie before each step, in the order of time.
        part = np.cumsum(resets[row] != 0)[steps]
        if case.go_backwards:
            part = part.max() - part
        for n in np.unique(part):
            chosen = part == n
            # The cut at which the part is entered: the newest one on the way.
            cuts = np.flatnonzero(resets[row])
            first = steps[chosen][0]
            way = cuts[cuts > first][:1] if case.go_backwards else cuts[cuts <= first][-1:]
            zeros = way.size and resets[row, way[0]] == 1
            start = {"hidden_state": None, "cell_state": None} if zeros else {}
            expected = torch_lstm(**{**arguments, "x": arguments["x"][:, chosen], **start})
            actual = reference["hidden_states"][row, places[chosen]]
            assert_allclose(actual, expected["hidden_states"][0], rtol=1e-10, atol=1e-10)


@named([case for case in CASES if case.mask != "none" and not case.resets])
def test_masked_steps_repeat(case: Case) -> None:
    arguments = case.arguments()
    states = reference_forward(**arguments)
    masked = ~arguments["mask"][:, :: -1 if case.go_backwards else 1]
    assert masked.any()
    for name in GATE_NAMES:
        assert_array_equal(states[name][masked], 0.0)
    pairs: tuple[tuple[StateName, StateName], ...] = (
        ("hidden_states", "hidden_state"),
        ("cell_states", "cell_state"),
    )
    for sequence, final in pairs:
        initial = arguments[final]
        after = states[sequence]
        first = np.zeros_like(after[:, 0]) if initial is None else initial
        before = np.concatenate([first[:, None], after[:, :-1]], axis=1)
        assert_array_equal(after[masked], before[masked])
        assert_array_equal(states[final], after[:, -1])


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_reference_rounds_only_its_inputs(dtype: str) -> None:
    arguments = CASES[0].arguments(dtype)
    states = reference_forward(**arguments)
    for name in INPUT_NAMES:
        if arguments[name] is not None:
            arguments[name] = arguments[name].astype("float64")
    for name, expected in reference_forward(**arguments).items():
        assert states[name].dtype == np.float64
        assert_array_equal(states[name], expected)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("hard_sigmoid", [0.0, 0.0, 1 / 3, 0.5, 2 / 3, 1.0, 1.0]),
        ("relu", [0.0, 0.0, 0.0, 0.0, 1.0, 3.5, 8.0]),
        ("linear", [-8.0, -3.5, -1.0, 0.0, 1.0, 3.5, 8.0]),
    ],
)
def test_activation_by_hand(name: str, values: list[float]) -> None:
    # One step, one unit, no recurrence: the output gate is the activation of x.
    x = np.array([-8.0, -3.5, -1.0, 0.0, 1.0, 3.5, 8.0]).reshape(-1, 1, 1)
    states = reference_forward(
        x=x,
        kernel=np.array([[0.0, 0.0, 0.0, 1.0]]),
        recurrent_kernel=np.zeros((1, 4)),
        recurrent_activation=name,
    )
    assert_allclose(states["output_gates"].ravel(), values, rtol=1e-15)


# --------------------------------------------------------------------------------- backward


@named([case for case in CASES if case.is_small])
def test_backward_is_finite_differences(case: Case) -> None:
    """Each of the eight outputs alone, against every number of every input."""
    arguments = case.arguments()
    absent = {
        "bias": np.zeros(4 * case.units),
        "hidden_state": np.zeros((case.batch, case.units)),
        "cell_state": np.zeros((case.batch, case.units)),
    }
    arguments |= {name: zeros for name, zeros in absent.items() if arguments[name] is None}
    rng = np.random.default_rng(1)
    states = reference_forward(**arguments)
    arriving = {name: rng.normal(size=states[name].shape) for name in STATE_NAMES}

    def each_output(*arrays: Array) -> Array:
        changed = dict(zip(INPUT_NAMES, arrays, strict=True))
        outputs = reference_forward(**{**arguments, **changed})
        return np.array([(arriving[name] * outputs[name]).sum() for name in STATE_NAMES])

    expected = finite_differences(each_output, [arguments[name] for name in INPUT_NAMES])
    for row, output in enumerate(STATE_NAMES):
        actual = reference_backward({output: arriving[output]}, **case.arguments())
        for name, differences in zip(INPUT_NAMES, expected, strict=True):
            message = f"d {output} / d {name}"
            assert_allclose(actual[name], differences[row], rtol=1e-6, atol=1e-7, err_msg=message)


def test_backward_sums_over_outputs() -> None:
    arguments = next(case for case in CASES if case.name == "everything").arguments()
    states = reference_forward(**arguments)
    rng = np.random.default_rng(2)
    arriving: dict[StateName, Array] = {n: rng.normal(size=states[n].shape) for n in STATE_NAMES}
    whole = reference_backward(arriving, **arguments)
    parts = [reference_backward({name: arriving[name]}, **arguments) for name in STATE_NAMES]
    for name in INPUT_NAMES:
        assert_allclose(whole[name], sum(part[name] for part in parts), rtol=1e-12, atol=1e-12)


def test_finite_differences_by_hand() -> None:
    # d (a^2 b) = 2ab, a^2; and d (a b) = b, a
    a, b = finite_differences(
        lambda a, b: np.array([(a**2 * b).sum(), (a * b).sum()]),
        [np.array([1.0, 2.0]), np.array([3.0, -1.0])],
    )
    assert_allclose(a, [[6.0, -4.0], [3.0, -1.0]], rtol=1e-9)
    assert_allclose(b, [[1.0, 4.0], [1.0, 2.0]], rtol=1e-9)
    (scalar,) = finite_differences(lambda a: float(a[0] ** 3), [np.array([2.0])])
    assert_allclose(scalar, [12.0], rtol=1e-9)


# ------------------------------------------------------------------------------------ cases


def test_cases_have_names_of_their_own() -> None:
    assert len({case.name for case in CASES}) == len(CASES)


@named(list(CASES))
def test_no_two_numbers_of_a_case_are_the_same(case: Case) -> None:
    for name, a in case.arguments().items():
        if isinstance(a, np.ndarray) and name not in ("mask", "resets"):
            kept = a[a != 0.0]  # what dropout dropped is all alike
            assert kept.size, name
            assert np.unique(kept).size == kept.size, name


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_a_case_has_the_dtype_asked_for(dtype: str) -> None:
    for case in CASES:
        for name, a in case.arguments(dtype).items():
            if isinstance(a, np.ndarray):
                expected = {"mask": "bool", "resets": "uint8"}.get(name, dtype)
                assert a.dtype == expected, (case.name, name)


def test_mask_kinds_are_what_they_say() -> None:
    def mask(kind: MaskKind) -> NDArray[np.bool_]:
        case = Case(name=kind, mask=kind, batch=4, time_steps=6)
        return np.asarray(case.arguments()["mask"])

    right, left, holes = mask("right"), mask("left"), mask("holes")
    assert (np.diff(right.astype(int), axis=1) <= 0).all()
    assert (np.diff(left.astype(int), axis=1) >= 0).all()
    assert len(set(right.sum(axis=1))) > 1
    assert len(set(left.sum(axis=1))) > 1
    assert not right.all()
    assert right.any(axis=1).all()
    assert (np.diff(holes[0].astype(int)) < 0).any()
    assert (np.diff(holes[0].astype(int)) > 0).any()
    assert np.count_nonzero(mask("row_all_masked").any(axis=1)) == 3
    assert not mask("all_masked").any()
