"""Several LSTMs in one op of the native core, and what TensorFlow's tapes make of it."""

from __future__ import annotations

import numpy as np
import pytest

from conveyor._engines import _library
from frameworks import BACKEND, assert_close, only_on
from native_calls import ops_in_graph, requests_of
from two_requests import float_arrays, states_of

if BACKEND == "tensorflow":
    import tensorflow as tf

pytestmark = [
    only_on("tensorflow"),
    pytest.mark.skipif(_library.missing() is not None, reason=str(_library.missing())),
]

tapes = pytest.mark.parametrize("graph", [False, True], ids=["eager", "graph"])


def arguments():
    return float_arrays(tf.constant)


def loss_of(arrays, *, together=True, among=(0, 1, 2)):
    hs, c, f = states_of(arrays, together=together)
    terms = tf.reduce_sum(hs**2), tf.reduce_sum(c * hs[:, 0]), tf.reduce_sum(f**3)
    return sum(terms[n] for n in among)


def slope_of(arrays, **options):
    with tf.GradientTape() as tape:
        tape.watch(arrays)
        loss = loss_of(arrays, **options)
    return tape.gradient(loss, arrays, unconnected_gradients="zero")


def assert_equal(actual, expected) -> None:
    tf.nest.map_structure(np.testing.assert_array_equal, actual, expected)


@tapes
def test_one_op_forward_and_one_backward(graph: bool) -> None:
    arrays = arguments()
    run = tf.function(slope_of) if graph else slope_of
    if graph:
        nodes = ops_in_graph(run.get_concrete_function(arrays))
        assert {n: requests_of(its) for n, its in nodes.items()} == {
            "Forward": [2],
            "Backward": [2],
        }
    assert_equal(run(arrays), run(arrays, together=False))
    assert_equal(states_of(arrays), states_of(arrays, together=False))


@tapes
@pytest.mark.parametrize("among", [(0, 1), (2,)])
def test_a_gradient_of_one(graph: bool, among) -> None:
    arrays = arguments()
    run = tf.function(slope_of) if graph else slope_of
    if graph:
        (backward,) = ops_in_graph(run.get_concrete_function(arrays, among=among))["Backward"]
        assert requests_of([backward]) == [1]
    assert_equal(run(arrays, among=among), run(arrays, among=among, together=False))


def test_the_weights_of_one() -> None:
    arrays = arguments()

    @tf.function
    def run(kernel):
        with tf.GradientTape() as tape:
            tape.watch(kernel)
            loss = loss_of([arrays[0], {**arrays[1], "kernel": kernel}])
        return tape.gradient(loss, kernel)

    kernel = arrays[1]["kernel"]
    (backward,) = ops_in_graph(run.get_concrete_function(kernel))["Backward"]
    assert backward.attr["wanted"].list.i == [1 << _library.INPUTS.index("kernel")]
    assert_close(run(kernel), slope_of(arrays)[1]["kernel"], "float64")


def test_a_late_gradient() -> None:
    arrays = arguments()
    run = tf.function(loss_of)
    (forward,) = ops_in_graph(run.get_concrete_function(arrays))["Forward"]
    assert forward.attr["keep"].list.i == [0, 0]
    with tf.GradientTape() as tape:
        tape.watch(arrays)
        loss = run(arrays)
    assert_equal(tape.gradient(loss, arrays), slope_of(arrays))


@tapes
def test_second_derivatives(graph: bool) -> None:
    arrays = arguments()

    def penalty(arrays, together):
        with tf.GradientTape() as tape:
            tape.watch(arrays)
            slopes = slope_of(arrays, together=together)
            loss = sum(tf.reduce_sum(s**2) for s in tf.nest.flatten(slopes))
        return tf.nest.flatten(tape.gradient(loss, arrays))

    run = tf.function(penalty) if graph else penalty
    for a, e in zip(run(arrays, True), penalty(arrays, False), strict=True):
        scale = max(1.0, float(np.abs(e).max()))
        assert_close(a / scale, e / scale, "float64", 10)


def test_a_request_that_does_not_fit_is_an_error() -> None:
    arrays = arguments()

    @tf.function(input_signature=[tf.TensorSpec((None, 5, 4), "float64")])
    def run(x):
        return states_of(
            [arrays[0], {**arrays[1], "x": x, "hidden_state": tf.ones((2, 5), "float64")}]
        )

    run(arrays[1]["x"])
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"hidden_state of shape \(1, 5\)"):
        run(arrays[1]["x"][:1])
