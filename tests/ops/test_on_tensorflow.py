"""What TensorFlow's compilers make of `ops.lstm`."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from cases import Case
from conveyor import LSTM, ops
from frameworks import assert_close, only_on
from oracles import block_lstm_v2, reference_backward, reference_forward

pytestmark = only_on("tensorflow")

CASE = Case(name="small", time_steps=6, mask="holes", initial_states=True)


@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "xla"])
@pytest.mark.parametrize("time_steps", [6, None], ids=["static", "any length"])
def test_values_and_gradients(jit_compile, time_steps) -> None:
    import tensorflow as tf

    arguments = CASE.arguments("float32")
    batch, _, features = arguments["x"].shape
    weights = {n: tf.constant(arguments[n]) for n in ("kernel", "recurrent_kernel", "bias")}
    names = ("hidden_states", "cell_states", "input_gates")
    rng = np.random.default_rng(0)
    cotangents = {n: rng.normal(size=(3, 6, 3)).astype("float32") for n in names}

    @tf.function(
        jit_compile=jit_compile,
        input_signature=[
            tf.TensorSpec((None if time_steps is None else batch, time_steps, features)),
            tf.TensorSpec((None if time_steps is None else batch, time_steps), tf.bool),
        ],
    )
    def run(x, mask):
        changed = {**arguments, **weights, "x": x, "mask": mask}
        with tf.GradientTape() as tape:
            tape.watch([x, *weights.values()])
            values = ops.lstm(**changed, outputs=names)
            loss = sum(tf.reduce_sum(v * cotangents[n]) for n, v in zip(names, values, strict=True))
        return values, tape.gradient(loss, [x, *weights.values()])

    values, gradients = run(arguments["x"], arguments["mask"])
    expected = reference_forward(**arguments)
    for name, value in zip(names, values, strict=True):
        assert_close(value, expected[name])
    expected = reference_backward(cotangents, **arguments)
    for name, gradient in zip(("x", *weights), gradients, strict=True):
        assert_close(gradient, expected[name], scale=10)


def test_gates_against_the_kernel_of_tensorflow() -> None:
    case = Case(name="block", batch=4, time_steps=7, features=5, units=6, initial_states=True)
    arguments = case.arguments("float32")
    wanted = ("x", "kernel", "recurrent_kernel", "bias", "hidden_state", "cell_state")
    expected = block_lstm_v2(**{n: arguments[n] for n in wanted})
    names = ("cell_states", "input_gates", "forget_gates", "candidates", "output_gates")
    for name, value in zip(names, ops.lstm(**arguments, outputs=names), strict=True):
        assert_close(value, expected[name])


def test_a_model_trains_compiled_by_xla() -> None:
    tokens = np.array([[1, 2, 3, 0], [2, 0, 0, 0]])
    model = keras.Sequential(
        [
            keras.layers.Embedding(4, 3, mask_zero=True),
            LSTM(5, return_sequences=True, recurrent_dropout=0.2),
            LSTM(2),
        ]
    )
    model.compile("adam", "mse", jit_compile=True)
    losses = model.fit(tokens, np.ones((2, 2)), epochs=5, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


def test_a_saved_model_takes_any_length(tmp_path) -> None:
    import tensorflow as tf

    layer = LSTM(4, outputs=("hidden_states", "cell_state"))
    x = np.random.default_rng(0).normal(size=(2, 7, 3)).astype("float32")
    expected = layer(x)
    module = tf.Module()
    module.layer = layer
    module.run = tf.function(layer, input_signature=[tf.TensorSpec((None, None, 3))])
    tf.saved_model.save(module, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    for a, b in zip(loaded.run(x), expected, strict=True):
        assert_close(a, b)
