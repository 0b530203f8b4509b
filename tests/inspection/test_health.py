"""health(): shares, half-lives and dead units of gates made by hand, and what it advises."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest

pytest.importorskip("xarray", reason='health needs xarray: pip install "conveyor[inspect]"')

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from conveyor import ConveyorError
from conveyor.inspection._health import health
from traces import make_layer, make_trace

GATES = ("input_gates", "forget_gates", "output_gates")
WELL = {"input_gates": 0.5, "forget_gates": 0.8, "output_gates": 0.6, "candidates": 0.5}


def found(**changes):
    return health(make_layer(**({"units": 4} | WELL | changes))).layer()


def test_shares_of_hand_made_gates():
    gates = np.array([[0.05, 0.05, 0.5, 0.95], [0.1, 0.9, 0.95, 0.99]])[np.newaxis]
    mask = [[1, 1, 0]]
    gates = np.concatenate([gates, np.full((1, 1, 4), 0.01)], axis=1)  # masked: counts for nothing
    layer = found(samples=1, steps=3, mask=mask, **dict.fromkeys(GATES, gates))
    assert layer.steps == 2
    for gate in GATES:
        np.testing.assert_array_equal(layer.left_saturated[gate], [0.5, 0.5, 0, 0])
        np.testing.assert_array_equal(layer.right_saturated[gate], [0, 0, 0.5, 1])


@given(seed=st.integers(0, 9999), backward=st.booleans())
def test_numbers_are_those_of_a_count_step_by_step(seed, backward):
    mask = np.random.default_rng(seed).random((3, 5)) < 0.7
    mask[0, 0] = True
    direction = "backward" if backward else "forward"
    made = make_layer(3, 5, 4, seed=seed, mask=mask, direction=direction)
    numbers = health(made).to_dataset()
    for unit in range(4):
        for gate in GATES:
            seen = [float(made[gate][s, t, unit]) for s, t in np.argwhere(mask)]
            at = numbers.sel(gate=gate, unit=unit)
            assert at.left_saturated == pytest.approx(sum(v < 0.1 for v in seen) / len(seen))
            assert at.right_saturated == pytest.approx(sum(v > 0.9 for v in seen) / len(seen))
        forget = [float(made.forget_gates[s, t, unit]) for s, t in np.argwhere(mask)]
        kept = np.prod(forget) ** (1 / len(forget))
        assert kept ** float(numbers.half_life[unit]) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("forget", "steps"), [(0.5, 1), (0.25, 0.5), (2**-0.1, 10), (1.0, np.inf), (0.0, 0)]
)
def test_half_life(forget, steps):
    np.testing.assert_allclose(found(forget_gates=forget).half_life, steps)


def test_a_healthy_network_is_told_so_in_one_line():
    report = health(make_trace(a=make_layer(**WELL), b=make_layer(**WELL)))
    assert all(layer.advice == () for layer in report.layers.values())
    assert str(report).count("Nothing wrong was found") == 1
    assert "•" not in str(report)
    assert "<li>" not in report._repr_html_()


def test_dead_units():
    output, candidates = np.full(4, 0.6), np.full(4, 0.5)
    output[1] = 0.09
    candidates[2] = 1e-5
    made = make_layer(units=4, **WELL | {"output_gates": output, "candidates": candidates})
    made["hidden_states"].values[..., 2] = 9e-4
    layer = health(made).layer()
    assert layer.dead.tolist() == [False, True, True, False]
    silent, shut = layer.advice
    assert silent.startswith("1 of 4 units (2): dead, the hidden state never leaves 0")
    assert shut.startswith("1 of 4 units (1): dead, the output gate is below 0.1 in every step")
    made["hidden_states"].values[0, 3, 2] = -0.01  # once is enough
    assert health(made).layer().dead.tolist() == [False, True, False, False]


@pytest.mark.parametrize(
    ("changes", "says", "write"),
    [
        ({"input_gates": [0.5, 0.05, 0.5, 0.02]}, r"input gate of 2 of 4 units \(1, 3\)", "rate"),
        ({"forget_gates": [0.05, 0.05, 0.5, 0.5]}, "wipes out", "unit_forget_bias=True"),
        ({"forget_gates": 0.4}, r"longest half-life is 0\.76 steps", "unit_forget_bias=True"),
        (
            {"input_gates": 1.0, "forget_gates": 0.99, "output_gates": 0.95},
            "100% of all gate values",
            "Scale the input",
        ),
        ({"input_gates": 1.5}, "Input gates leave 0 to 1", 'recurrent_activation="sigmoid"'),
        ({"forget_gates": -0.5}, "Forget gates leave 0 to 1", 'recurrent_activation="sigmoid"'),
    ],
)
def test_what_is_wrong_is_said_with_what_to_do(changes, says, write):
    (line,) = found(**changes).advice
    assert write in line
    assert re.search(says, line)


def test_open_forget_gates_and_a_few_that_forget_are_no_fault():
    assert found(forget_gates=0.99).advice == ()
    assert found(forget_gates=[0.05, 0.8, 0.8, 0.8]).advice == ()


@pytest.mark.parametrize(("direction", "time"), [("forward", 3), ("backward", 4)])
def test_nan_is_the_only_thing_said_and_where_it_began(direction, time):
    made = make_layer(samples=3, direction=direction, **WELL)
    for name in (*GATES, "candidates", "hidden_states", "cell_states"):
        made[name].values[1, 3:5] = np.nan
    for name in ("cell_state", "hidden_state"):
        made[name].values[1] = np.nan
    rest = slice(5, None) if direction == "forward" else slice(None, 3)
    for name in (*GATES, "candidates", "hidden_states", "cell_states"):
        made[name].values[1, rest] = np.nan
    layer = health(made).layer()
    (line,) = layer.advice
    assert line.startswith(f"NaN or infinity from sample 1, time {time} on")
    assert np.isnan(layer.left_saturated["input_gates"]).all()
    assert "NaN" in str(health(made))


def test_layers_by_path_and_as_a_dataset():
    units = make_layer(units=4).assign_coords(unit=[0, 5, 6, 9])
    report = health(make_trace(first=make_layer(), second=units))
    assert list(report.layers) == ["first", "second"]
    numbers = report.to_dataset("second")
    assert numbers.unit.values.tolist() == [0, 5, 6, 9]
    assert dict(numbers.left_saturated.sizes) == {"gate": 3, "unit": 4}
    with pytest.raises(ConveyorError, match=r"first, second; got None\.\nWrite layer=\"first\""):
        report.to_dataset()


def test_the_page_shows_the_same_and_escapes_names():
    trace = make_trace(**{"<b>": make_layer(input_gates=0.01)})
    page = health(trace)._repr_html_()
    assert "<b>&lt;b&gt;: conveyor.LSTM, 3 units, 12 steps</b>" in page
    assert page.count("<tr>") == 1 + 3
    assert "100.0%" in page
    assert page.count("<li>") == len(health(trace).layer().advice) > 0
    screen = io.StringIO()
    Console(file=screen, width=60).print(health(trace))
    assert max(map(len, screen.getvalue().splitlines())) <= 60


def test_what_cannot_be_judged():
    with pytest.raises(ConveyorError, match=r'health of "a".*steps, all of them masked'):
        health(make_trace(a=make_layer(mask=np.zeros((2, 6)))))
    with pytest.raises(ConveyorError, match="without hidden_states"):
        health(make_layer().drop_vars("hidden_states"))
    with pytest.raises(ConveyorError, match=r"got list.*\n.*health\(trace\)"):
        health([1, 2])
