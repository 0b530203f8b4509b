"""A stack of LSTMs in one op of the native core, and what TensorFlow's tapes make of it."""

from __future__ import annotations

import numpy as np
import pytest

from conveyor._engines import _library
from frameworks import BACKEND, assert_same, only_on
from native_calls import ops_in_graph, requests_of
from stacked_requests import float_arrays, loss_of, states_of

if BACKEND == "tensorflow":
    import tensorflow as tf

pytestmark = [
    only_on("tensorflow"),
    pytest.mark.skipif(_library.missing() is not None, reason=str(_library.missing())),
]

tapes = pytest.mark.parametrize("graph", [False, True], ids=["eager", "graph"])


@pytest.fixture
def arrays():
    return float_arrays(tf.constant)


def slope_of(arrays, **options):
    with tf.GradientTape() as tape:
        tape.watch(arrays)
        loss = loss_of(arrays, **options)
    return tape.gradient(loss, arrays, unconnected_gradients="zero")


def assert_equal(actual, expected) -> None:
    tf.nest.map_structure(np.testing.assert_array_equal, actual, expected)


# A layer whose hidden states are read elsewhere, too, waits until the gradients are added.
@tapes
@pytest.mark.parametrize(("of", "backward"), [("top", [3]), ("lowest", [1]), ("all", [1, 1, 1])])
def test_ops_and_numbers(of, backward, graph: bool, arrays) -> None:
    run = tf.function(slope_of) if graph else slope_of
    if graph:
        nodes = ops_in_graph(run.get_concrete_function(arrays, of=of))
        assert {n: requests_of(its) for n, its in nodes.items()} == {
            "Forward": [3],
            "Backward": backward,
        }
    assert_equal(run(arrays, of=of), run(arrays, of=of, together=False))
    assert_equal(states_of(arrays), states_of(arrays, together=False))


@tapes
@pytest.mark.parametrize("moving", [0, 1, 2])
def test_frozen_layers(moving: int, graph: bool, arrays) -> None:
    def slope(kernel, together):
        with tf.GradientTape() as tape:
            tape.watch(kernel)
            changed = {**arrays[moving], "recurrent_kernel": kernel}
            loss = loss_of(
                [changed if n == moving else its for n, its in enumerate(arrays)],
                together=together,
            )
        return tape.gradient(loss, kernel)

    run = tf.function(slope) if graph else slope
    kernel = arrays[moving]["recurrent_kernel"]
    if graph:
        (node,) = ops_in_graph(run.get_concrete_function(kernel, True))["Backward"]
        assert requests_of([node]) == [3 - moving]
    assert_equal(run(kernel, True), run(kernel, False))


def test_a_late_gradient(arrays) -> None:
    run = tf.function(loss_of)
    (forward,) = ops_in_graph(run.get_concrete_function(arrays))["Forward"]
    assert forward.attr["keep"].list.i == [0, 0, 0]
    with tf.GradientTape() as tape:
        tape.watch(arrays)
        loss = run(arrays)
    assert_equal(tape.gradient(loss, arrays), slope_of(arrays))


@tapes
@pytest.mark.parametrize("of", ["top", "all"])
def test_second_derivatives(of, graph: bool, arrays) -> None:
    def penalty(arrays, together):
        with tf.GradientTape() as tape:
            tape.watch(arrays)
            slopes = slope_of(arrays, together=together, of=of)
            loss = sum(tf.reduce_sum(s**2) for s in tf.nest.flatten(slopes))
        return tf.nest.flatten(tape.gradient(loss, arrays))

    run = tf.function(penalty) if graph else penalty
    assert_same(run(arrays, True), penalty(arrays, False), 100)


def test_shapes_that_come_later(arrays) -> None:
    @tf.function(input_signature=[tf.TensorSpec((2, None, 4), "float64")])
    def run(x):
        lowest = {n: a for n, a in arrays[0].items() if n != "x"}
        states = states_of([{**lowest, "x": x}, *arrays[1:]])
        assert states[3].shape.as_list() == [2, None, 2]
        return states

    assert_equal(run(arrays[0]["x"]), states_of(arrays))
