"""memory(): the parts of the cell state, and that nothing wrong is ever split."""

from __future__ import annotations

import keras
import numpy as np
import pytest

pytest.importorskip("xarray", reason='memory needs xarray: pip install "conveyor[inspect]"')

from hypothesis import given
from hypothesis import strategies as st

import conveyor
from conveyor import ConveyorError
from conveyor.inspection._memory import memory
from traces import make_layer, make_trace


def parts_by_loop(layer, sample, unit, until):
    """What each step holds at the end: every written number carried on by itself."""
    at = {name: layer[name].values[sample, :, unit] for name in layer if layer[name].ndim == 3}
    order = range(layer.sizes["time"])
    parts = {"initial": float(layer["initial_cell_state"][sample, unit])} | dict.fromkeys(
        order, 0.0
    )
    for t in order if layer.direction == "forward" else reversed(order):
        if not np.isnan(at["forget_gates"][t]):
            parts = {step: part * at["forget_gates"][t] for step, part in parts.items()}
            parts[t] = at["input_gates"][t] * at["candidates"][t]
        if t == until:
            break
    return parts


@given(
    seed=st.integers(0, 9999),
    steps=st.integers(1, 9),
    direction=st.sampled_from(["forward", "backward"]),
    masked=st.booleans(),
    data=st.data(),
)
def test_each_part_is_what_was_written_carried_on(seed, steps, direction, masked, data):
    mask = np.random.default_rng(seed).random((2, steps)) < 0.6 if masked else None
    layer = make_layer(2, steps, 3, seed=seed, mask=mask, direction=direction)
    at = data.draw(st.none() | st.integers(0, steps - 1))
    split = memory(layer, at=at)
    for sample, unit in np.ndindex(2, 3):
        expected = parts_by_loop(layer, sample, unit, at)
        initial = expected.pop("initial")
        np.testing.assert_allclose(split.initial[sample, unit], initial, atol=1e-12)
        np.testing.assert_allclose(
            split.contribution[sample, :, unit], list(expected.values()), atol=1e-12
        )
    total = split.contribution.sum("time") + split.initial
    np.testing.assert_allclose(total, split.cell_state, atol=1e-12)
    if at is None:
        np.testing.assert_allclose(total, layer.cell_state, atol=1e-12)


@pytest.mark.parametrize("go_backwards", [False, True])
def test_parts_of_a_real_layer_sum_to_its_cell_state(go_backwards):
    x = np.random.default_rng(0).normal(size=(3, 50, 4)).astype("float32")
    mask = np.arange(50) < np.array([[50], [31], [1]])
    layer = conveyor.LSTM(5, go_backwards=go_backwards, name="lstm")
    with conveyor.layers.recording() as records:
        layer(x, mask=mask)
    states = {n: keras.ops.convert_to_numpy(s) for n, s in records[0].states.items()}
    order = slice(None, None, -1 if go_backwards else 1)
    traced = make_layer(3, 50, 5, direction="backward" if go_backwards else "forward")
    for name, array in states.items():
        in_time = array[:, order] if array.ndim == 3 else array
        traced[name].values[:] = in_time
        if array.ndim == 3:
            traced[name].values[~mask] = np.nan
    traced["initial_cell_state"][:] = 0.0
    split = memory(traced)
    total = split.contribution.sum("time") + split.initial
    np.testing.assert_allclose(total, states["cell_state"], atol=1e-5)
    assert not split.contribution.values[~mask].any()


def test_a_tree_gives_a_tree_and_a_sample_a_sample():
    forward = make_layer(tokens=["abcdef", "abc"])
    backward = make_layer(seed=1, direction="backward")
    trace = make_trace(encoder=forward, **{"both/backward_lstm": backward})
    split = memory(trace)
    assert [node.path for node in split.leaves] == ["/encoder", "/both/backward_lstm"]
    assert split.attrs == trace.attrs
    assert split["encoder"].to_dataset().identical(memory(forward))
    assert split["encoder/token"].identical(trace["encoder/token"])
    node = memory(trace["both"])
    assert node["backward_lstm"].to_dataset().identical(memory(backward))
    assert memory(trace["encoder"]).to_dataset().identical(memory(forward))
    one = memory(forward.isel(sample=1))
    assert one.identical(memory(forward).isel(sample=1))
    assert one.contribution.dims == ("time", "unit")


def test_gates_that_shut_do_not_divide_by_zero():
    forget = np.ones((1, 400, 1))
    forget[:, 100:300] = 1e-30
    layer = make_layer(1, 400, 1, forget_gates=forget)
    split = memory(layer)
    assert not split.contribution.values[0, :280].any()
    written = (layer.input_gates * layer.candidates).values
    np.testing.assert_array_equal(split.contribution[:, 299:], written[:, 299:])


def test_steps_are_found_by_the_users_time():
    days = np.arange("2026-11-01", "2026-11-07", dtype="datetime64[D]").astype("datetime64[ns]")
    layer = make_layer(mask=[[1, 1, 1, 0, 1, 1], [1] * 6])
    dated = layer.assign_coords(time=days)
    expected = memory(layer, at=3)
    for at in (days[3], "2026-11-04"):
        np.testing.assert_array_equal(memory(dated, at=at).contribution, expected.contribution)
    np.testing.assert_array_equal(expected.cell_state[0], layer.cell_states[0, 2])  # 3 is masked
    np.testing.assert_array_equal(expected.cell_state[1], layer.cell_states[1, 3])


@pytest.mark.parametrize(
    "at", [6, -1, 2.5, "x", [2], [0, 1, 2, 3, 4, 5], np.datetime64("2026-01-01")]
)
def test_a_step_that_is_not_there(at):
    with pytest.raises(ConveyorError, match=r"time: 6 of them, 0 to 5; got .*\nWrite at=trace"):
        memory(make_layer(), at=at)


@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_what_is_no_number_shows(direction, poison):
    """As a real layer has it: from the step of the accident on, all it reads is NaN."""
    mask = np.ones((2, 6), bool)
    layer = make_layer(mask=mask, direction=direction)
    whole = memory(layer)
    step = 4 if direction == "forward" else 1
    after = slice(5, None) if direction == "forward" else slice(0, 1)
    for name in ("candidates", "cell_states"):
        layer[name].values[0, step] = poison
    for name in ("input_gates", "forget_gates", "candidates", "output_gates"):
        layer[name].values[0, after] = np.nan
    for name in ("cell_states", "hidden_states"):
        layer[name].values[0, after] = np.nan
    for name in ("cell_state", "hidden_state"):
        layer[name].values[0] = np.nan
    split = memory(layer)
    for name in ("contribution", "initial", "cell_state"):
        assert split[name][0].isnull().all()
        assert split[name][1].identical(whole[name][1])
    before = memory(layer, at=3 if direction == "forward" else 2)
    assert np.isfinite(before.contribution).all()


def test_padding_only_leaves_the_initial_state():
    layer = make_layer(mask=[[0] * 6, [1] * 6])
    split = memory(layer)
    np.testing.assert_array_equal(split.initial[0], layer.initial_cell_state[0])
    assert not split.contribution[0].any()


def test_a_trace_cut_in_time_is_refused():
    with pytest.raises(ConveyorError, match=r"isel\(time="):
        memory(make_layer().isel(time=slice(2, None)))
    cut = make_layer().isel(time=slice(0, 4))  # its steps still follow
    np.testing.assert_allclose(
        memory(cut).contribution.sum("time") + memory(cut).initial, cut.cell_states[:, -1]
    )


def test_the_wrong_direction_is_refused():
    layer = make_layer(direction="backward")
    with pytest.raises(ConveyorError, match="direction"):
        memory(layer.assign_attrs(direction="forward"))
    with pytest.raises(ConveyorError, match='"forward" or "backward"; got None'):
        memory(layer.drop_attrs())


@pytest.mark.parametrize("name", ["forget_gates", "initial_cell_state", "cell_state"])
def test_missing_variables_are_named_with_their_layer(name):
    trace = make_trace(reader=make_layer().drop_vars(name))
    with pytest.raises(ConveyorError, match=f'memory of "reader".*without {name}\\.'):
        memory(trace)


def test_what_is_no_trace():
    with pytest.raises(ConveyorError, match=r"got ndarray\.\nWrite trace = conveyor\.trace"):
        memory(np.zeros((2, 3)))
    with pytest.raises(ConveyorError, match="holds none of them"):
        memory(make_trace())
    with pytest.raises(ConveyorError, match=r"isel\(unit=\[3\]\)"):
        memory(make_layer().isel(unit=1))
