"""The native GRU on TensorFlow: its gradients in and out of graphs; what XLA compiles."""

from __future__ import annotations

import numpy as np
import pytest

from conveyor import GRU, ops
from conveyor._engines import _library
from frameworks import only_on
from grus import GRUCase

tf = pytest.importorskip("tensorflow")
pytestmark = [
    only_on("tensorflow"),
    pytest.mark.skipif(_library.missing() is not None, reason=str(_library.missing())),
]
ARRAYS = (
    "x", "kernel", "recurrent_kernel", "bias", "hidden_state", "dropout_mask",
    "recurrent_dropout_mask",
)  # fmt: skip
NAMES = ("hidden_states", "update_gates", "candidates")


def derivatives(reset_after: bool, engine: str, graph: bool):
    """Of a loss: its gradients, and those of the sum of their squares."""
    arguments = GRUCase(
        name="tensorflow", batch=2, time_steps=2, features=2, units=2, mask="holes", resets=True,
        initial_state=True, dropout="shared", recurrent_dropout="per_gate",
        reset_after=reset_after,
    ).arguments()  # fmt: skip

    def run(*arrays):
        given = {**arguments, **dict(zip(ARRAYS, arrays, strict=True))}
        with tf.GradientTape() as outer:
            outer.watch(arrays)
            with tf.GradientTape() as inner:
                inner.watch(arrays)
                hs, z, g = ops.gru(**given, outputs=NAMES, engine=engine)
                value = tf.reduce_sum(hs**2) + tf.reduce_sum(z * hs) + tf.reduce_sum(g**3)
            first = inner.gradient(value, arrays)
            squares = tf.add_n([tf.reduce_sum(gradient**2) for gradient in first])
        return first + outer.gradient(squares, arrays)

    arrays = [tf.constant(arguments[name]) for name in ARRAYS]
    return (tf.function(run) if graph else run)(*arrays)


@pytest.mark.parametrize(("reset_after", "graph"), [(True, True), (False, False)])
def test_first_and_second_gradients(reset_after, graph) -> None:
    actual = derivatives(reset_after, "native", graph)
    expected = derivatives(reset_after, "portable", graph=False)
    assert len(expected) == 2 * len(ARRAYS)
    for mine, theirs in zip(actual, expected, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-9, atol=1e-9)


def test_a_layer_runs_native_in_a_graph_with_free_axes_and_portable_under_xla() -> None:
    layer = GRU(3, return_sequences=True)
    x = np.random.default_rng(0).normal(size=(2, 5, 4)).astype("float32")
    expected = layer(x)
    free = tf.TensorSpec((None, None, 4), tf.float32)
    graph = tf.function(layer.call, input_signature=[free]).get_concrete_function()
    assert layer.explain_engine() == "native engine"
    assert any(op.type == "Conveyor>GruForward" for op in graph.graph.get_operations())
    assert graph.output_shapes.as_list() == [None, None, 3]
    np.testing.assert_allclose(graph(tf.constant(x)), expected, rtol=1e-6)
    under_xla = tf.function(layer, jit_compile=True)(tf.constant(x))
    assert "XLA compiles this function" in layer.explain_engine()
    np.testing.assert_allclose(under_xla, expected, rtol=1e-5, atol=1e-6)


def test_sizes_that_do_not_fit_fail_where_they_are_known() -> None:
    arguments = GRUCase(name="plain").arguments("float32")
    wrong = tf.function(
        lambda bias: ops.gru(**{**arguments, "bias": tf.reshape(bias, (2, -1))}, engine="native"),
        input_signature=[tf.TensorSpec((None,), tf.float32)],
    )
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"a GRU expects bias of shape \(2, 9"):
        wrong(tf.zeros(8))
