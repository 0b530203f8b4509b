"""`accelerate` and `patch_keras`: models of Keras, on conveyor's engines, with the same numbers."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

import conveyor
from conveyor import LSTM, ConveyorError, accelerate, acceleration_plan
from conveyor.layers import recording
from frameworks import assert_close, to_numpy

B, T, F, U = 4, 6, 3, 5
RNG = np.random.default_rng(0)
X = RNG.normal(size=(B, T, F)).astype("float32")
Y = RNG.normal(size=(B, 1)).astype("float32")
MASKED = X.copy()
MASKED[1, 3:] = MASKED[2, :2] = MASKED[3, 1] = 0.0


def head(*below):
    return keras.Sequential([keras.Input((T, F)), *below, layers.Dense(1)])


def stack():
    return [layers.LSTMCell(U), layers.LSTMCell(4)]


@keras.saving.register_keras_serializable(package="tests")
class Encoder(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.recurrent = [layers.LSTM(U, return_sequences=True), layers.LSTM(U, return_state=True)]
        self.out = layers.Dense(1)

    def call(self, x):
        _, h, c = self.recurrent[1](self.recurrent[0](x))
        return self.out(h + c)


@keras.saving.register_keras_serializable(package="tests")
class Named(layers.LSTM):
    pass


class Squared(layers.LSTMCell):
    def call(self, inputs, states, training=False):
        output, states = super().call(inputs, states, training)
        return output**2, states


def functional():
    x = keras.Input((None, F))
    hs, h, c = layers.LSTM(U, return_sequences=True, return_state=True)(layers.Masking()(x))
    decoded = layers.LSTM(U, name="decoder")(hs, initial_state=[h, c])
    return keras.Model(x, layers.Dense(1)(decoded))


def nested():
    inner = keras.Sequential([keras.Input((T, F)), layers.LSTM(U, return_sequences=True)])
    return head(inner, layers.LSTM(4))


def subclassed():
    model = Encoder()
    model(X)
    return model


# Whether all of it becomes conveyor.LSTM, or the loop of some layers alone runs on conveyor.
MODELS = {
    "sequential": (lambda: head(layers.Masking(), layers.LSTM(U)), True),
    "functional": (functional, True),
    "two directions by hand": (
        lambda: head(
            layers.Masking(),
            layers.LSTM(U, go_backwards=True, return_sequences=True),
            layers.LSTM(4),
        ),
        True,
    ),
    "nested": (nested, True),
    "subclassed": (subclassed, True),
    "bidirectional": (
        lambda: head(
            layers.Masking(),
            layers.Bidirectional(layers.LSTM(U, return_sequences=True)),
            layers.Bidirectional(layers.LSTM(4), merge_mode="sum"),
        ),
        True,
    ),
    "rnn of a cell": (
        lambda: head(layers.RNN(layers.LSTMCell(U, use_bias=False), go_backwards=True)),
        True,
    ),
    "stack of cells": (lambda: head(layers.Masking(), layers.RNN(stack())), False),
    "stack backwards": (
        lambda: head(
            layers.Masking(),
            layers.RNN(
                stack(), go_backwards=True, return_sequences=True, zero_output_for_mask=True
            ),
            layers.GlobalAveragePooling1D(),
        ),
        False,
    ),
    "derived class": (lambda: head(Named(U)), False),
    "time distributed": (
        lambda: keras.Sequential(
            [keras.Input((2, T, F)), layers.TimeDistributed(layers.LSTM(U)), layers.Dense(1)]
        ),
        True,
    ),
}


def data(name):
    return np.stack([MASKED, X], axis=1) if name == "time distributed" else MASKED


@pytest.fixture(params=MODELS)
def name(request):
    return request.param


def test_same_outputs_names_and_variables(name):
    make, wholly = MODELS[name]
    model, x = make(), data(name)
    expected = to_numpy(model(x))
    variables, paths = model.variables, [w.path for w in model.weights]
    with recording() as records:
        assert accelerate(model, verbose=False) is model
        actual = model(x)
    assert_close(actual, expected, "float32")
    assert all(a is b for a, b in zip(model.variables, variables, strict=True))
    assert [w.path for w in model.weights] == paths
    assert bool(records) == (wholly or name == "derived class")
    plan = acceleration_plan(model)
    assert all((item.was == "conveyor.LSTM") == wholly for item in plan)
    accelerate(model, verbose=False)
    assert_close(model(x), expected, "float32")


@pytest.mark.parametrize("name", ["sequential", "functional", "bidirectional", "subclassed"])
def test_training_goes_on(name):
    def trained(change):
        keras.utils.set_random_seed(1)
        model = MODELS[name][0]()
        model.compile("adam", "mse")
        model.fit(MASKED, Y, epochs=2, verbose=0, shuffle=False)
        iterations = int(model.optimizer.iterations)
        model = change(model)
        assert int(model.optimizer.iterations) == iterations
        history = model.fit(MASKED, Y, epochs=3, verbose=0, shuffle=False).history["loss"]
        return history, model.predict(X, verbose=0)

    theirs = trained(lambda model: model)
    ours = trained(lambda model: accelerate(model, verbose=False))
    np.testing.assert_allclose(ours[0], theirs[0], rtol=2e-4)
    np.testing.assert_allclose(ours[1], theirs[1], atol=2e-4)


def test_saved_and_loaded(name, tmp_path):
    model, x = accelerate(MODELS[name][0](), verbose=False), data(name)
    model.save(tmp_path / "fast.keras")
    loaded = keras.saving.load_model(tmp_path / "fast.keras")
    assert_close(loaded(x), to_numpy(model(x)), "float32")


def test_weights_of_keras_load_into_it(tmp_path):
    theirs, ours = functional(), accelerate(functional(), verbose=False)
    theirs.save_weights(tmp_path / "x.weights.h5")
    ours.load_weights(tmp_path / "x.weights.h5")
    assert_close(ours(MASKED), to_numpy(theirs(MASKED)), "float32")


def test_a_model_that_is_not_built():
    model = keras.Sequential([layers.LSTM(U), layers.Dense(1)])
    accelerate(model, verbose=False)
    model.compile("sgd", "mse")
    model.fit(X, Y, verbose=0)
    assert type(model.layers[0]) is LSTM
    assert model.layers[0].built


def test_a_stateful_layer_goes_on_from_its_states():
    def after(change):
        keras.utils.set_random_seed(1)
        model = keras.Sequential(
            [keras.Input(batch_shape=(B, T, F)), layers.LSTM(U, stateful=True)]
        )
        model(X)
        model = change(model)
        model(2 * X)
        return model(X)

    expected = to_numpy(after(lambda model: model))
    assert_close(after(lambda model: accelerate(model, verbose=False)), expected, "float32")


def test_what_it_could_not_and_why(capsys):
    model = keras.Sequential(
        [
            keras.Input((T, F)),
            layers.LSTM(U, return_sequences=True, name="words"),
            layers.SimpleRNN(4, return_sequences=True, name="simple"),
            layers.RNN(Squared(4), return_sequences=True, name="squared"),
            LSTM(4, name="ours"),
        ]
    )
    expected = to_numpy(model(X))
    accelerate(model)
    assert_close(model(X), expected, "float32")
    printed = capsys.readouterr().out
    assert "1 of 4 recurrent layers" in printed
    lines = {line.split("│")[1].strip(): line for line in printed.splitlines() if "│" in line}
    assert "conveyor.LSTM" in lines["words"]
    assert "SimpleRNNCell, which is neither" in lines["simple"]
    assert "Squared, which has a step" in lines["squared"]
    assert "already" in lines["ours"]


def test_a_dropout_is_drawn_as_before():
    def outputs(change):
        keras.utils.set_random_seed(1)
        model = change(head(layers.LSTM(U, dropout=0.5, recurrent_dropout=0.3, seed=4)))
        return model(X, training=True)

    expected = to_numpy(outputs(lambda model: model))
    assert_close(outputs(lambda model: accelerate(model, verbose=False)), expected, "float32")


def test_no_model():
    with pytest.raises(ConveyorError, match="load_model"):
        accelerate("model.keras")


# ------------------------------------------------------------------------- patch_keras


def test_patched(name, monkeypatch):
    model, x = MODELS[name][0](), data(name)
    expected = to_numpy(model(x))
    with conveyor.patch_keras():
        # Keras's own loop is not there any more.
        monkeypatch.setattr("keras.src.layers.rnn.rnn.backend.rnn", None)
        actual = model(x)
    assert_close(actual, expected, "float32")


def loops():
    return layers.LSTM.inner_loop, layers.GRU.inner_loop, layers.RNN.inner_loop


def test_patches_nest_and_end():
    original = loops()
    with conveyor.patch_keras():
        with conveyor.patch_keras():
            pass
        assert not set(loops()) & set(original)
        accelerate(model := head(Named(U)), verbose=False)
    assert loops() == original
    model(X)
    patch = conveyor.patch_keras()
    assert "on" in repr(patch)
    conveyor.unpatch_keras()
    conveyor.unpatch_keras()
    assert "off" in repr(patch)
    assert loops() == original


def test_a_patch_leaves_other_layers_alone():
    model = head(layers.SimpleRNN(U, return_sequences=True), layers.RNN(Squared(4)))
    expected = to_numpy(model(X))
    with conveyor.patch_keras():
        assert_close(model(X), expected, "float32")
        assert_close(model.predict(X, verbose=0), expected, "float32")
