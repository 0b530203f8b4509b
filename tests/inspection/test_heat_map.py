"""The parts of a heat map: packed numbers, the order of rows, colours, labels."""

from __future__ import annotations

import base64
import io
import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import array_shapes, arrays
from hypothesis.strategies import floats, sampled_from

from conveyor.inspection._characters import visible
from conveyor.inspection._packing import pack, unpack
from conveyor.inspection._palette import PALETTES, colour, png_data_url
from conveyor.inspection._seriation import order_of_units


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("size", [1e-6, 1.0, 3e4])
def test_packed_numbers_come_back_within_half_a_step_of_their_unit(rng, size, bits):
    array = size * rng.normal(size=(4, 7, 5)) * rng.uniform(0.01, 1, size=(7, 1))
    packed = pack(array, bits)
    scales = np.array(packed.scales)[:, np.newaxis]
    assert (np.abs(unpack(packed) - array) <= 0.5000001 * scales).all()
    largest = np.abs(array).max((0, 2)) / (2 ** (bits - 1) - 1)
    np.testing.assert_allclose(packed.scales, largest, rtol=2e-3)


@pytest.mark.parametrize("bits", [8, 16])
def test_zeros_and_what_is_not_finite(rng, bits):
    np.testing.assert_array_equal(unpack(pack(np.zeros((2, 3, 4)), bits)), np.zeros((2, 3, 4)))
    array = np.array([[[1.0, np.nan, 0.5], [-np.inf, -2.0, -2.0], [np.nan] * 3]])
    expected = np.where(np.isfinite(array), array, np.nan)
    np.testing.assert_allclose(unpack(pack(array, bits)), expected, atol=0.01)


@given(
    array=arrays(
        np.float32,
        array_shapes(min_dims=3, max_dims=3, max_side=5),
        elements=floats(-(2.0**100), 2.0**100, width=32),
    ),
    bits=sampled_from([8, 16]),
)
def test_any_numbers_come_back(array, bits):
    packed = pack(array, bits)
    half = np.array(packed.scales)[:, np.newaxis] * 0.5000001
    assert packed.shape == array.shape
    assert (np.abs(unpack(packed) - array) <= half).all()


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
