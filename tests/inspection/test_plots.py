"""The plots show the numbers of the trace, at their steps, with their labels; and nothing else."""

from __future__ import annotations

import copy
import sys
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("xarray", reason='plots need xarray: pip install "conveyor[inspect]"')
pytest.importorskip("matplotlib", reason='plots need it: pip install "conveyor[inspect]"')

import matplotlib as mpl
import matplotlib.pyplot as plt

from conveyor import ConveyorError
from conveyor.inspection._health import health
from conveyor.inspection._memory import memory
from conveyor.inspection._plots import (
    plot_gates,
    plot_gradient_flow,
    plot_memory,
    plot_saturation,
    plot_states,
)
from traces import make_layer, make_trace

pytestmark = pytest.mark.any_backend

mpl.use("Agg")  # no window

TEXT = ["mardi $2_x$", "le 4"]
STEPS = len(TEXT[0])
MASK = np.arange(STEPS) < np.array([[len(text)] for text in TEXT])


@pytest.fixture
def layer():
    return make_layer(2, STEPS, 5, mask=MASK, tokens=TEXT)


@pytest.fixture
def flow():
    norms = np.geomspace(1e-6, 1, 6)
    return SimpleNamespace(
        path="reader",
        d_cell_states=norms,
        d_hidden_states=2 * norms,
        d_inputs=np.array([0.0, np.nan, 1.0, np.inf, 1.0, 1.0]),
        memory_length=2.5,
        verdict="vanishes",
    )


@pytest.fixture(autouse=True)
def _close_and_leave_the_style_alone():
    before = copy.deepcopy(dict(mpl.rcParams)), mpl.get_backend()
    yield
    for number in plt.get_fignums():
        plt.figure(number).canvas.draw()  # a label that cannot be drawn warns, and fails
    plt.close("all")
    assert (dict(mpl.rcParams), mpl.get_backend()) == before


def labels(ax):
    return [label.get_text() for label in ax.get_xticklabels() if label.get_text()]


def colour_bar(ax):
    (bar,) = (other for other in ax.figure.axes if other is not ax)
    return bar


def hatched(ax):
    """The steps under a hatched patch."""
    spans = [patch.get_bbox() for patch in ax.patches if patch.get_hatch()]
    return [t for span in spans for t in range(int(span.x0 + 0.5), int(span.x1 + 0.5))]


@pytest.mark.parametrize("state", ["cell_states", "hidden_states", "candidates"])
def test_a_state_is_a_heat_map_around_zero(layer, state):
    ax = plot_states(make_trace(encoder=layer)["encoder"], state)
    (image,) = ax.images
    np.testing.assert_allclose(image.get_array(), layer[state][0].T)
    assert image.norm(0.0) == 0.5
    assert image.norm.vmin == -image.norm.vmax < 0
    assert image.get_extent() == [-0.5, STEPS - 0.5, 4.5, -0.5]  # step k at k, unit 0 at the top
    middle = image.cmap(0.5)
    assert min(middle[:3]) > 0.9  # as light as the page
    low, high = image.cmap(0.0), image.cmap(1.0)
    assert low[2] > low[0] + 0.2  # blue
    assert high[0] > high[2] + 0.2  # and orange: not red against green
    assert ax.get_title(loc="left") == f"{state.replace('_', ' ').capitalize()} (encoder, sample 0)"
    assert colour_bar(ax).get_ylabel() == state.replace("_", " ")


def test_gates_run_from_zero_to_one_but_only_if_they_are_gates(layer):
    image = plot_states(layer, "forget_gates").images[0]
    assert (image.norm.vmin, image.norm.vmax) == (0, 1)
    layer["forget_gates"].values[0, 0, 0] = -0.5
    image = plot_states(layer, "forget_gates").images[0]
    assert image.norm.vmin == -image.norm.vmax


def test_tokens_stand_along_the_time_axis_as_they_are(layer):
    ax = plot_states(layer)
    assert labels(ax) == [*"mardi", "␣", *"$2_x$"]
    assert not any(label.get_parse_math() for label in ax.get_xticklabels())
    assert ax.get_xticks().tolist() == list(range(STEPS))
    short = plot_states(layer, sample=1)
    assert labels(short) == ["l", "e", "␣", "4"]
    assert hatched(short) == list(range(4, STEPS))
    assert hatched(ax) == []
    assert "masked" in short.get_xlabel()
    assert "masked" not in ax.get_xlabel()
    assert short.images[0].get_array().mask[:, 4:].all()


@pytest.mark.parametrize(("word", "angle"), [("a", 0), ("vingt-cinq", 90)])
@pytest.mark.parametrize("steps", [12, 400])
def test_labels_never_run_into_each_other(word, angle, steps):
    layer = make_layer(1, steps, 2)
    layer = layer.assign_coords(token=(("sample", "time"), [[word] * steps]))
    ax = plot_states(layer)
    ax.figure.canvas.draw()
    boxes = [label.get_window_extent() for label in ax.get_xticklabels() if label.get_text()]
    assert all(left.x1 <= right.x0 for left, right in pairwise(boxes))
    assert len(boxes) >= min(steps, 20)
    assert ax.get_xticklabels()[0].get_rotation() == angle


@pytest.mark.parametrize(
    ("times", "shown"),
    [
        (np.arange(30), ["0", "5", "10", "15", "20", "25"]),
        (np.arange(30) / 4, ["0", "1.25", "2.5", "3.75", "5", "6.25"]),
        (np.datetime64("2026-01-01", "ns") + np.arange(30) * np.timedelta64(1, "D"), "2026-01-06"),
        (np.datetime64("2026-01-01", "ns") + np.arange(30) * np.timedelta64(1, "h"), "T05:00:00"),
    ],
)
def test_without_tokens_the_users_time_is_there(times, shown):
    ax = plot_states(make_layer(1, 30, 2).assign_coords(time=times))
    if isinstance(shown, list):
        assert labels(ax) == shown
    else:
        assert labels(ax)[1].endswith(shown)
        assert ax.get_xlabel() == "time"


def test_chosen_units_in_the_users_order(layer):
    traced = layer.assign_coords(unit=[0, 3, 7, 8, 9])
    ax = plot_states(traced, units=[7, 0])
    np.testing.assert_allclose(ax.images[0].get_array(), layer["cell_states"][0, :, [2, 0]].T)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["7", "0"]


def test_what_is_no_number_is_black_and_masked_steps_are_not(layer):
    layer["cell_states"].values[1, 2, 3] = np.nan
    layer["cell_states"].values[1, 1, 0] = np.inf
    ax = plot_states(layer, sample=1)
    _, black = ax.images
    places = np.argwhere(~np.ma.getmaskarray(black.get_array()))
    assert places.tolist() == [[0, 1], [3, 2]]  # (unit, step)
    assert black.cmap(0)[:3] == (0, 0, 0)
    assert "NaN" in ax.get_xlabel()


def test_one_number_far_out_does_not_take_the_colour_from_the_rest():
    layer = make_layer(1, 100, 50)
    layer["cell_states"].values[0, 3, 7] = 1e6
    ax = plot_states(layer)
    assert ax.images[0].norm.vmax < 10
    assert ax.images[0].colorbar.extend == "both"


def test_gates_of_one_unit_are_five_lines(layer):
    ax = plot_gates(layer, unit=2, sample=1)
    (right,) = (other for other in ax.figure.axes if other is not ax)
    names = ["input_gates", "forget_gates", "output_gates", "candidates"]
    drawn = {line.get_label(): line for line in ax.lines if not line.get_label().startswith("_")}
    assert list(drawn) == [name[:-1].replace("_", " ") for name in names]
    for name, line in zip(names, drawn.values(), strict=True):
        np.testing.assert_array_equal(line.get_ydata(), layer[name][1, :, 2])
        np.testing.assert_array_equal(line.get_xdata(), np.arange(STEPS))
    (cell,) = right.lines
    np.testing.assert_array_equal(cell.get_ydata(), layer["cell_states"][1, :, 2])
    for axis in (ax, right):  # zero at the same height
        assert sum(axis.get_ylim()) == 0
    shown = [text.get_text() for text in ax.get_legend().get_texts()]
    assert shown == [*drawn, "cell state"]
    looks = {(line.get_color(), str(line.get_linestyle())) for line in [*drawn.values(), cell]}
    assert len(looks) == 5
    assert hatched(ax) == list(range(4, STEPS))
    assert ax.get_title(loc="left") == "Unit 2 (sample 1)"


def test_a_gap_that_is_no_padding_is_told(layer):
    assert "NaN" not in plot_gates(layer, sample=1).get_xlabel()
    layer["candidates"].values[1, 2, 0] = np.nan
    assert "NaN" in plot_gates(layer, sample=1).get_xlabel()


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_memory_has_a_column_for_what_was_there_before(direction):
    layer = make_layer(direction=direction)
    split = memory(layer, at=3)
    parts, before = split.contribution[0].T.values, split.initial[0].values[:, np.newaxis]
    ax = plot_memory(split)
    (image,) = ax.images
    if direction == "forward":
        np.testing.assert_array_equal(image.get_array(), np.hstack([before, parts]))
        assert image.get_extent()[:2] == [-1.5, 5.5] == list(ax.get_xlim())
        assert ax.get_xticks(minor=True).tolist() == [-1]
    else:
        np.testing.assert_array_equal(image.get_array(), np.hstack([parts, before]))
        assert image.get_extent()[:2] == [-0.5, 6.5] == list(ax.get_xlim())
        assert ax.get_xticks(minor=True).tolist() == [6]
    assert [label.get_text() for label in ax.get_xticklabels(minor=True)] == ["before"]
    assert image.norm(0.0) == 0.5
    np.testing.assert_allclose(image.get_array().sum(axis=1), split.cell_state[0])
    assert "after step 3" in ax.get_title(loc="left")


def test_memory_takes_a_trace_too_and_knows_its_padding(layer):
    layer["initial_cell_state"][:] = 0.0
    fresh = make_layer(2, STEPS, 5, mask=MASK, tokens=TEXT)
    fresh["initial_cell_state"].values[1] = 0.0
    first = fresh.input_gates[1, 0] * fresh.candidates[1, 0]
    cells = [first]
    for t in range(1, 4):
        at = fresh.isel(sample=1, time=t)
        cells.append(at.forget_gates * cells[-1] + at.input_gates * at.candidates)
    fresh["cell_states"].values[1, :4] = np.stack(cells)
    fresh["cell_state"].values[1] = cells[-1]
    ax = plot_memory(make_trace(encoder=fresh), sample=1, units=[4, 1])
    image = ax.images[0].get_array()
    assert image.shape == (2, STEPS)  # no column for a state of zeros
    np.testing.assert_allclose(image[:, :4].sum(axis=1), cells[-1][[4, 1]])
    assert image.mask[:, 4:].all()
    assert hatched(ax) == list(range(4, STEPS))
    assert labels(ax) == ["l", "e", "␣", "4"]


def test_saturation_is_a_point_for_each_unit_and_gate(layer):
    found = health(make_trace(a=layer, b=make_layer()))
    for ax in (plot_saturation(found, layer="a"), plot_saturation(layer)):
        assert len(ax.collections) == 3
        for points in ax.collections:
            gate = points.get_label().replace(" ", "_")
            numbers = found.layers["a"]
            expected = np.stack([numbers.left_saturated[gate], numbers.right_saturated[gate]], 1)
            np.testing.assert_array_equal(points.get_offsets(), expected)
        assert ax.get_xlim() == ax.get_ylim() == (0, 1)
        markers = {str(points.get_paths()[0].vertices) for points in ax.collections}
        assert len(markers) == 3
    assert plot_saturation(found.layers["b"]).get_title(loc="left") == "Saturated gates (b)"
    with pytest.raises(ConveyorError, match=r"a, b; got None"):
        plot_saturation(found)


def test_gradient_flow_is_logarithmic_and_hides_no_zero(flow):
    ax = plot_gradient_flow(SimpleNamespace(layers={"reader": flow}))
    assert ax.get_yscale() == "log"
    cell, hidden, inputs = (line for line in ax.lines if not line.get_label().startswith("_"))
    np.testing.assert_array_equal(cell.get_ydata(), flow.d_cell_states)
    np.testing.assert_array_equal(hidden.get_ydata(), flow.d_hidden_states)
    np.testing.assert_array_equal(inputs.get_ydata(), [np.nan, np.nan, 1, np.nan, 1, 1])
    np.testing.assert_array_equal(cell.get_xdata(), np.arange(6))
    edges = [line for line in ax.lines if line.get_label() == "_edge"]
    assert [(e.get_marker(), e.get_xydata().tolist()) for e in edges] == [
        ("v", [[0, 0]]),
        ("x", [[3, 1]]),
    ]
    assert ax.get_title(loc="left") == "Gradient flow (reader): vanishes"
    assert plot_gradient_flow(flow).lines[0].get_xydata().shape == (6, 2)


def test_layers_of_gradient_flow_are_chosen_by_path(flow):
    both = SimpleNamespace(layers={"reader": flow, "writer": flow})
    assert "writer" in plot_gradient_flow(both, layer="writer").get_title(loc="left")
    with pytest.raises(ConveyorError, match=r'reader, writer; got None\.\n.*layer="reader"'):
        plot_gradient_flow(both)
    with pytest.raises(ConveyorError, match=r"got dict\.\n.*gradient_flow\(model, x, y\)"):
        plot_gradient_flow({})


def test_all_draw_into_the_axes_they_are_given(layer, flow):
    figure, places = plt.subplots(2, 3)
    calls = [
        lambda ax: plot_states(layer, ax=ax),
        lambda ax: plot_gates(layer, ax=ax),
        lambda ax: plot_memory(layer, ax=ax),
        lambda ax: plot_saturation(layer, ax=ax),
        lambda ax: plot_gradient_flow(flow, ax=ax),
    ]
    for call, ax in zip(calls, places.flat, strict=False):
        assert call(ax) is ax
    assert plt.get_fignums() == [figure.number]
    for call in calls:
        with pytest.raises(ConveyorError, match=r"one Axes of matplotlib; got ndarray"):
            call(places)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (plot_states, r'2: a, b\.\nWrite plot_states\(trace\["a"\]\)'),
        (
            lambda t: plot_states(t["a"], "cell_state"),
            "a time axis; got 'cell_state'",
        ),
        (lambda t: plot_states(t["a"], "gates"), r"another that the trace has: hidden_states"),
        (lambda t: plot_states(t["a"], sample=2), r"2 of them, 0 to 1; got 2\.\nWrite sample=0"),
        (lambda t: plot_states(t["a"], units=[0, 9]), r"3 of them, 0 to 2; got array"),
        (
            lambda t: plot_gates(t["a"], unit=-1),
            r"3 of them, 0 to 2; got \[-1\]",
        ),
        (lambda t: plot_states(t["b"], "cell_states"), r"trace without cell_states"),
    ],
)
def test_what_is_not_there(call, message):
    trace = make_trace(a=make_layer(), b=make_layer().drop_vars("cell_states"))
    with pytest.raises(ConveyorError, match=message):
        call(trace)


def test_one_sample_taken_out_by_hand(layer):
    ax = plot_states(layer.isel(sample=1), sample=0)
    np.testing.assert_allclose(ax.images[0].get_array()[:, :4], layer["cell_states"][1, :4].T)
    assert ax.get_title(loc="left") == "Cell states (sample 1)"


class NotInstalled:
    """Finds nothing of matplotlib, like a Python without it."""

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "matplotlib":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def test_without_matplotlib_the_line_to_install_it(layer, monkeypatch):
    for name in ("matplotlib", "matplotlib.pyplot"):
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [NotInstalled(), *sys.meta_path])
    with pytest.raises(ConveyorError, match=r'states needs matplotlib.*\n.*"conveyor\[inspect\]"'):
        plot_states(layer)
