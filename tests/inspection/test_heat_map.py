"""The parts of a heat map: packed numbers, the order of rows, colours, labels."""

from __future__ import annotations

import base64
import io
import unicodedata

import numpy as np
import pytest

from conveyor import ConveyorError
from conveyor.inspection import ReportExample
from conveyor.inspection._characters import visible
from conveyor.inspection._packing import pack, unpack
from conveyor.inspection._palette import PALETTES, colour, png_data_url
from conveyor.inspection._picture import picture
from conveyor.inspection._seriation import change_per_step, order_of_units


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("size", [1e-6, 1.0, 3e4])
def test_packed_numbers_come_back_within_half_a_step(rng, size):
    array = size * rng.normal(size=(7, 5))
    packed = pack(array)
    assert packed["scale"] == pytest.approx(np.abs(array).max() / 32767)
    np.testing.assert_allclose(unpack(packed), array, rtol=0, atol=0.5001 * packed["scale"])


def test_zeros_and_what_is_not_finite(rng):
    np.testing.assert_array_equal(unpack(pack(np.zeros((2, 3)))), np.zeros((2, 3)))
    back = unpack(pack(np.array([[1.0, np.nan], [-np.inf, -2.0]])))
    np.testing.assert_allclose(back, [[1.0, np.nan], [np.nan, -2.0]], atol=1e-4)


def test_similar_units_become_neighbours(rng):
    time = np.linspace(0, 1, 12)[:, np.newaxis]
    courses = {"up": time, "late": time**6, "down": -time, "late down": -(time**6)}
    kinds = np.repeat(np.arange(4), 10)
    states = np.concatenate([np.repeat(course, 10, axis=1) for course in courses.values()], axis=1)
    states = states * rng.uniform(0.2, 2, size=40) + rng.normal(scale=1e-3, size=states.shape)
    shuffle = rng.permutation(40)
    order = order_of_units(states[:, shuffle])
    assert sorted(order) == list(range(40))
    in_order = kinds[shuffle][order]
    assert np.count_nonzero(np.diff(in_order)) == 3  # four groups, none of them torn apart
    assert set(in_order[:20]) == {0, 1}  # the risen stand above the fallen


@pytest.mark.parametrize("shape", [(1, 1), (1, 6), (5, 1)])
def test_the_smallest_sequences_have_an_order_too(rng, shape):
    assert sorted(order_of_units(rng.normal(size=shape))) == list(range(shape[1]))
    assert sorted(order_of_units(np.zeros(shape))) == list(range(shape[1]))


def test_the_first_change_is_from_zero():
    states = np.array([[1.0, -1.0], [1.0, -1.0], [2.0, -1.0]])
    np.testing.assert_allclose(change_per_step(states), [1.0, 0.0, 0.5])


@pytest.mark.parametrize("theme", PALETTES)
def test_zero_has_the_colour_of_the_page_and_the_ends_their_own(theme):
    stops = PALETTES[theme]["signed"]
    values = np.array([-2.0, -1.0, 0.0, 1.0, 9.0])
    shown = ["#" + "".join(f"{c:02x}" for c in rgb) for rgb in colour(values, -1.0, 1.0, stops)]
    middle = stops[len(stops) // 2]
    assert shown == [stops[0], stops[0], middle, stops[-1], stops[-1]]
    assert middle == PALETTES[theme]["gate"][0]


def test_png_is_read_back_by_another_reader(rng):
    image = pytest.importorskip("PIL.Image")
    pixels = rng.integers(0, 256, size=(5, 7, 3)).astype(np.uint8)
    kind, _, data = png_data_url(pixels).partition(",")
    assert kind == "data:image/png;base64"
    np.testing.assert_array_equal(
        np.asarray(image.open(io.BytesIO(base64.b64decode(data)))), pixels
    )


@pytest.mark.parametrize(
    ("token", "label"),
    [("a", "a"), ("ش", "ش"), (" ", "␣"), ("\n", "↵"), ("", "∅"), ("\u0651", "◌\u0651")],
)
def test_labels(token, label):
    assert visible(token) == label


@pytest.mark.parametrize("token", ["\u202e", "a\u2067b", "\x00", "\u200b", "\ud800"])
def test_labels_never_hold_what_steers_the_page(token):
    assert not {"Cc", "Cf", "Cs"} & {unicodedata.category(c) for c in visible(token)}


def example(rng, source="abc", units=4, **states):
    states = states or {"cell_states": rng.normal(size=(len(source), units))}
    return ReportExample("title", list(source), "out", "out", "en", states)


def test_gates_run_from_zero_to_one_and_states_around_zero(rng):
    gates, cells = rng.uniform(size=(3, 4)), 5 * rng.normal(size=(3, 4))
    states = picture(example(rng, cell_states=cells, forget_gates=gates))["states"]
    forget, cell = states["forget_gates"], states["cell_states"]
    assert (forget["palette"], forget["low"], forget["high"]) == ("gate", 0.0, 1.0)
    assert (cell["palette"], cell["low"]) == ("signed", -cell["high"])
    assert list(states) == ["cell_states", "forget_gates"]


def test_one_unit_far_out_does_not_take_the_colour_from_the_rest(rng):
    cells = rng.uniform(-1, 1, size=(20, 100))
    cells[3, 7] = 1000.0
    state = picture(example(rng, "x" * 20, cell_states=cells))["states"]["cell_states"]
    assert state["high"] <= 1
    assert state["clipped"]


@pytest.mark.parametrize(
    "states",
    [
        {"cell_states": np.ones((1, 3, 4))},
        {"cell_states": np.ones((2, 4))},
        {"cell_states": np.ones((3, 4)), "hidden_states": np.ones((3, 5))},
        {"cell_states": np.ones((3, 0))},
        {"cell_states": np.float64(1)},
    ],
)
def test_states_that_are_not_a_row_per_token(rng, states):
    with pytest.raises(ConveyorError, match="a row per token of source"):
        picture(example(rng, **states))


def test_states_without_time_axis(rng):
    with pytest.raises(ConveyorError, match="record_states"):
        picture(example(rng, cell_state=np.ones((3, 4))))
    with pytest.raises(ConveyorError, match="got none"):
        picture(ReportExample("title", list("abc"), "", "", "", {}))
