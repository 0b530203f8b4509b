"""worked_example() of every LSTM beyond the plain one: the numbers are those of its equations."""

from __future__ import annotations

import re

import numpy as np
import pytest

import conveyor
from conveyor import worked_example
from conveyor.activations import ScaledTanh
from frameworks import assert_close
from variant_layers import VARIANTS, B, T, U, arguments_of, given, made
from variants import reference

by_name = pytest.mark.parametrize("name", VARIANTS)
GATES = {
    "input": "input_gates",
    "forget": "forget_gates",
    "candidate": "candidates",
    "output": "output_gates",
}


def example_of(name, **at):
    layer, states = made(**VARIANTS[name])
    x, mask = given()["x"], given()["mask"]
    return worked_example(layer, x, mask=mask, initial_state=states, **at)


def rows(example) -> list[str]:
    return [re.sub(r"[│\s]+", " ", line).strip() for line in str(example).splitlines()]


@by_name
def test_every_step_is_that_of_the_reference(name) -> None:
    layer, states = made(**VARIANTS[name])
    x, mask = given()["x"], given()["mask"]
    expected = reference(**{**arguments_of(layer, states), "resets": None})
    turn = slice(None, None, -1 if layer.go_backwards else 1)
    for sample, step in np.ndindex(B, T):
        example = worked_example(
            layer, x, sample=sample, step=step, mask=mask, initial_state=states
        )
        at = (sample, turn, slice(None))
        for own, named in (("hidden_state", "hidden_states"), ("cell_state", "cell_states")):
            assert_close(getattr(example, own), expected[named][at][step], "float64")
        assert example.masked == (not mask[sample, step])
        for gate, named in GATES.items():
            if not example.masked:
                assert_close(example.gates[gate], expected[named][at][step], "float64")


@by_name
def test_a_trace_has_the_same_numbers_under_the_same_names(name) -> None:
    pytest.importorskip("xarray")
    layer, _ = made(**VARIANTS[name])
    x = given()["x"].astype("float32")
    node = conveyor.trace(layer, x, preactivations=True)[layer.name].to_dataset()
    numbers = worked_example(layer, x, sample=1, step=2).to_dict()
    shared = {"hidden_states": "hidden_state", "cell_states": "cell_state"}
    for traced in node.data_vars:
        if "time" in node[traced].dims and not (layer.coupled and "input_pre" in traced):
            own = shared.get(traced) or traced.removesuffix("s")
            assert_close(numbers[own], node[traced].values[1, 2], scale=10)


def test_the_dictionary_has_every_number_in_the_order_of_the_computation() -> None:
    numbers = example_of("everything", sample=1, step=2).to_dict()
    gates = ("forget", "candidate", "output")
    parts = ("product", "normalised")
    assert list(numbers) == [
        *("x", "hidden_state_before", "cell_state_before", "joined"),
        *(f"{gate}_{part}_of_x" for gate in gates for part in parts),
        *(f"{gate}_{part}_of_h" for gate in gates for part in parts),
        *("forget_peephole", "forget_unclipped", "candidate_unclipped"),
        *("output_peephole", "output_unclipped"),
        *(f"{gate}_preactivation" for gate in gates),
        *("input_gate", "forget_gate", "candidate", "output_gate", "kept", "added"),
        *("unclipped_cell_state", "new_cell_state", "cell_state"),
        *("normalised", "transformed", "activated", "let_out"),
        *("new_hidden_state", "hidden_state"),
    ]
    assert_close(numbers["input_gate"], 1 - numbers["forget_gate"], "float64")
    assert_close(numbers["kept"] + numbers["added"], numbers["unclipped_cell_state"], "float64")
    assert_close(numbers["let_out"], numbers["output_gate"] * numbers["activated"], "float64")


@pytest.mark.parametrize("name", ["gates", "joint_output", "cell"])
def test_normalised_numbers_have_mean_0_and_variance_1(name) -> None:
    example = example_of(name, sample=1, step=2)
    if name == "cell":
        scale, shift = (example.more_weights[n] for n in ("cell_scale", "cell_shift"))
        normal = [(example.more["normalised"] - shift) / scale]
    elif name == "gates":
        normal = [example.more[f"{gate}_normalised"] for gate in GATES]
    else:
        normal = [
            np.concatenate([example.more[f"{gate}_normalised_of_{of}"] for gate in GATES])
            for of in "xh"
        ]
    for numbers in normal:
        assert abs(numbers.mean()) < 1e-12
        assert numbers.var() == pytest.approx(1, abs=1e-2)


@by_name
def test_the_table_shows_the_way_and_its_sum_adds_up(name) -> None:
    example = example_of(name, sample=1, step=2)
    lines = rows(example)
    assert max(map(len, str(example).splitlines())) <= 92
    z = next(line for line in lines if line.startswith("z_f[0]"))
    of_z = example.more.get("forget_unclipped", example.preactivations["forget"])
    assert float(z.split("= ")[-1]) == pytest.approx(of_z[0], abs=1e-4)
    assert f"{example.hidden_state[-1]:.4f}" in example._repr_html_()
    assert ("i = 1 - f" in str(example)) == example.flow.variant.coupled


@pytest.mark.parametrize(
    ("name", "said", "of"),
    [
        ("peephole", "z_f += p_f * c_{t-1}", "forget_preactivation"),
        ("peephole", "p_o * c_t", "output_peephole"),
        ("clip", "z_c within [-0.7, 0.7]", "candidate_preactivation"),
        ("cell_clip", "c_t within [-0.4, 0.4]", "cell_state"),
        ("gates", "n_i = LN(a_i)", "input_normalised"),
        ("joint", "a'_o = W_o on h", "output_product_of_h"),
        ("cell", "n = LN(c_t) * s + s'", "normalised"),
        ("output_transform", "u = c_t W5 + b5", "transformed"),
        ("projection", "m_t = o * tanh(c_t)", "let_out"),
        ("projection", "h_t = m_t P", "hidden_state"),
        ("zoneout", "c_t = 0.2 c_{t-1} + 0.8 c_t", "cell_state"),
        ("zoneout", "h_t = o * tanh(c_t)", "new_hidden_state"),
        ("activations", "leaky_relu(0.3)(c_t)", "activated"),
    ],
)
def test_the_table_has_a_row_for_it(name, said, of) -> None:
    example = example_of(name, sample=1, step=2)
    numbers = example.to_dict()[of]
    shown = " ".join(f"{v:.4f}" if abs(v) >= 5e-4 or v == 0 else f"{v:.1e}" for v in numbers)
    assert f"{said} {shown}" in rows(example)


def test_a_masked_step_says_so_whatever_it_would_compute() -> None:
    sample, step = np.argwhere(~given()["mask"])[0]
    example = example_of("everything", sample=sample, step=step)
    assert example.masked
    assert all(np.isnan(numbers).all() for numbers in example.more.values())
    np.testing.assert_array_equal(example.cell_state, example.cell_state_before)
    np.testing.assert_array_equal(example.hidden_state, example.hidden_state_before)
    for page in (str(example), example._repr_html_()):
        assert f"Step {step} is masked" in page
        assert "nan" not in page
        assert "LN(a)" not in page


def test_long_numbers_of_an_activation_are_shortened() -> None:
    layer = conveyor.LSTM(U, activation=ScaledTanh(1.7159, 2 / 3))
    layer.build(given()["x"].shape)
    assert "tanh(1.716,0.6667)(c_t)" in str(worked_example(layer, given()["x"]))
