"""`conveyor.tbptt`: the steps of a loop written by hand, on models that stay what they were."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

import conveyor
from conveyor import ConveyorError
from conveyor.training._batches import Batches
from conveyor.training._time_axis import time_axis_of
from conveyor.training._windows import Windows
from frameworks import BACKEND, assert_close, only_on
from oracles import reference_backward, reference_forward

RATE = 0.25  # Keras keeps it in float32
KINDS = {"conveyor": conveyor.LSTM, "keras": layers.LSTM}


def data(sequences=5, time_steps=11, features=3):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(sequences, time_steps, features)).astype("float32")
    return x, rng.normal(size=(sequences, time_steps, 2)).astype("float32")


def model_of(kind="conveyor", time_steps=None, optimizer=None, **kwargs):
    model = keras.Sequential(
        [
            keras.Input((time_steps, 3)),
            KINDS[kind](4, return_sequences=True),
            KINDS[kind](3, return_sequences=True),
            layers.Dense(2),
        ]
    )
    model.compile(optimizer or keras.optimizers.SGD(RATE), "mse", **kwargs)
    return model


def by_hand(weights, x, y, batch_size, window, epochs):
    """The same, in NumPy: two LSTMs, a Dense layer, mean squared error, plain descent."""
    *lstms, kernel, bias = [w.astype("float64") for w in weights]
    stack = [lstms[:3], lstms[3:]]
    for _ in range(epochs):
        for row in range(0, len(x), batch_size):
            states = [{"hidden_state": None, "cell_state": None} for _ in stack]
            for start in range(0, x.shape[1], window):
                at = np.s_[row : row + batch_size, start : start + window]
                runs, h = [], x[at]
                for (w, r, b), before in zip(stack, states, strict=True):
                    runs.append({"x": h, "kernel": w, "recurrent_kernel": r, "bias": b, **before})
                    after = reference_forward(**runs[-1])
                    before.update({name: after[name] for name in before})
                    h = after["hidden_states"]
                d = 2 * (h @ kernel + bias - y[at]) / y[at].size
                dh = d @ kernel.T
                kernel -= RATE * np.einsum("btu,bto->uo", h, d)
                bias -= RATE * d.sum((0, 1))
                for lstm, run in zip(reversed(stack), reversed(runs), strict=True):
                    gradients = reference_backward({"hidden_states": dh}, **run)
                    dh = gradients["x"]
                    for n, name in enumerate(["kernel", "recurrent_kernel", "bias"]):
                        lstm[n] = lstm[n] - RATE * gradients[name]
    return [*stack[0], *stack[1], kernel, bias]


@pytest.mark.parametrize("kind", KINDS)
def test_every_window_is_a_step_of_a_loop_written_by_hand(kind) -> None:
    x, y = data()
    model = model_of(kind, time_steps=11)  # windows of 4, 4 and 3; batches of 2, 2 and 1
    expected = by_hand(model.get_weights(), x, y, batch_size=2, window=4, epochs=2)
    conveyor.tbptt(model, 4).fit(x, y, batch_size=2, epochs=2, shuffle=False, verbose=0)
    for actual, weight in zip(model.get_weights(), expected, strict=True):
        assert_close(actual, weight)
    assert int(model.optimizer.iterations) == 2 * 3 * 3


@settings(max_examples=5 if BACKEND == "torch" else 2)
@given(st.integers(1, 7), st.integers(1, 6), st.integers(1, 5))
def test_any_window_any_batch(time_steps, window, batch_size) -> None:
    x, y = (a[:3] for a in data(time_steps=time_steps))
    model = model_of()
    expected = by_hand(model.get_weights(), x, y, batch_size, window, epochs=1)
    conveyor.tbptt(model, window).fit(x, y, batch_size=batch_size, shuffle=False, verbose=0)
    for actual, weight in zip(model.get_weights(), expected, strict=True):
        assert_close(actual, weight)


@only_on("torch")
def test_weights_are_those_of_pytorch_in_float64(request) -> None:
    import torch

    x, y = (a.astype("float64") for a in data(4, 12))  # Keras divides by their number in float32
    request.addfinalizer(lambda: keras.config.set_floatx("float32"))
    keras.config.set_floatx("float64")  # for the loss, which has no policy
    keras.config.set_dtype_policy("float64")
    model = keras.Sequential([keras.Input((None, 3)), conveyor.LSTM(2, return_sequences=True)])
    model.compile(keras.optimizers.SGD(RATE), "mse")
    theirs = conveyor.convert.to_torch(model.layers[0])
    theirs.bias_hh_l0.requires_grad_(False)  # Keras has one bias
    descent = torch.optim.SGD(theirs.parameters(), RATE)
    states = None
    for start in range(0, 12, 4):
        descent.zero_grad()
        h, states = theirs(torch.tensor(x[:, start : start + 4]), states)
        states = [s.detach() for s in states]
        torch.nn.functional.mse_loss(h, torch.tensor(y[:, start : start + 4])).backward()
        descent.step()
    conveyor.tbptt(model, 4).fit(x, y, batch_size=4, shuffle=False, verbose=0)
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0")
    expected = [getattr(theirs, name).detach().numpy().T for name in names]
    for actual, weight in zip(model.get_weights(), expected, strict=True):
        assert_close(actual, weight, "float64")


@pytest.mark.parametrize("kind", KINDS)
def test_one_window_is_fit(kind) -> None:
    x, y = data()
    given = {"batch_size": 2, "epochs": 2, "shuffle": False, "verbose": 0}
    model, plain = model_of(kind, 11, metrics=["mae"]), model_of(kind, 11, metrics=["mae"])
    plain.set_weights(model.get_weights())
    given["validation_data"] = (x[:2], y[:2])
    given["sample_weight"] = np.arange(1.0, 6.0)[:, None]
    ours = conveyor.tbptt(model, 100).fit(x, y, **given)
    theirs = plain.fit(x, y, **given)
    assert isinstance(ours, keras.callbacks.History)
    assert ours is model.history
    assert ours.epoch == [0, 1]
    for name, values in theirs.history.items():
        assert_close(np.array(ours.history[name]), np.array(values))
    assert_close(model.predict(x, verbose=0), plain.predict(x, verbose=0))


def test_the_forward_pass_is_that_of_whole_sequences() -> None:
    x, y = data(time_steps=12)
    model = model_of(optimizer=keras.optimizers.SGD(0.0))
    history = (
        conveyor.tbptt(model, 4)
        .fit(  # states of the batch before would change the loss
            *(x[:4], y[:4]), batch_size=2, epochs=2, validation_data=(x[:4], y[:4]), verbose=0
        )
        .history
    )
    assert_close(np.array(history["loss"]), np.array(history["val_loss"]))


def test_it_learns_what_lies_windows_before() -> None:
    rng = np.random.default_rng(0)
    bit = rng.integers(0, 2, size=(64, 1, 1))
    x = np.concatenate([bit * 2 - 1, np.zeros((64, 19, 1))], axis=1).astype("float32")
    y = np.repeat(bit, 20, axis=1)
    model = keras.Sequential([keras.Input((None, 1)), conveyor.LSTM(8, return_sequences=True)])
    model.add(layers.Dense(1, activation="sigmoid"))
    model.compile(keras.optimizers.Adam(0.05), "binary_crossentropy")
    conveyor.tbptt(model, 5).fit(x, y, batch_size=64, epochs=20, verbose=0)
    assert model.evaluate(x, y, verbose=0) < 0.05  # log 2 where only the first window is known


# ---------------------------------------------------------------- padding, weights, inputs


def masked_model(embedding=False):
    x = keras.Input((None,) if embedding else (None, 3))
    h = layers.Embedding(9, 3, mask_zero=True)(x) if embedding else layers.Masking()(x)
    h = conveyor.LSTM(4, return_sequences=True)(h)
    model = keras.Model(x, layers.Dense(2)(h))
    model.compile(keras.optimizers.Adam(0.1), "mse")
    return model


@pytest.mark.parametrize("embedding", [False, True])
@pytest.mark.parametrize("before", [0, 4])
def test_windows_of_padding_change_nothing(embedding, before) -> None:
    x, y = data()
    x = np.random.default_rng(1).integers(1, 9, size=(5, 11)) if embedding else x
    x[0, 6:] = 0  # shorter than the others

    def padded(a):
        return np.pad(a, [(0, 0), (before, 9), *[(0, 0)] * (a.ndim - 2)])

    one, other = masked_model(embedding), masked_model(embedding)
    other.set_weights(one.get_weights())
    given = {"batch_size": 5, "epochs": 2, "verbose": 0, "shuffle": False}
    history = conveyor.tbptt(one, 4).fit(x, y, **given).history
    again = conveyor.tbptt(other, 4).fit(padded(x), padded(y), **given).history
    assert_close(np.array(again["loss"]), np.array(history["loss"]))
    assert int(other.optimizer.iterations) == 6
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        assert_close(a, b)


def test_a_window_without_weight_is_read_and_not_learned() -> None:
    x, y = data(time_steps=12)
    weight = np.ones((5, 12))
    weight[:, 4:8] = 0
    model = model_of(optimizer=keras.optimizers.SGD(0.0))
    history = (
        conveyor.tbptt(model, 4)
        .fit(x, y, sample_weight=weight, batch_size=5, validation_data=(x, y, weight), verbose=0)
        .history
    )
    assert int(model.optimizer.iterations) == 2
    # Keras divides by all steps, those of the window left out too.
    assert_close(np.array(history["loss"]) * 2 / 3, np.array(history["val_loss"]))


def test_one_weight_a_sequence_is_the_same_at_all_its_steps() -> None:
    x, y = data(time_steps=5)  # as many as sequences: Keras would take the weights for the steps'
    model = model_of(optimizer=keras.optimizers.SGD(0.0))
    weight, given = np.arange(1.0, 6.0), {"batch_size": 5, "verbose": 0}
    ours = conveyor.tbptt(model, 5).fit(x, y, sample_weight=weight, **given)
    theirs = model.fit(x, y, sample_weight=weight[:, None], **given)
    assert_close(np.array(ours.history["loss"]), np.array(theirs.history["loss"]))


@pytest.mark.parametrize("names", [True, False])
def test_several_inputs_and_outputs_and_any_recurrent_layer(names) -> None:
    """An input without a time axis is the state that sequences begin with, and only that."""
    x, y = data(time_steps=12)
    begin = np.random.default_rng(1).normal(size=(5, 4)).astype("float32")
    a, b = keras.Input((12, 3), name="a"), keras.Input((4,), name="b")
    h = layers.GRU(4, return_sequences=True)(a, initial_state=b)
    h = conveyor.LSTM(4, return_sequences=True)(h, initial_state=[b, layers.Dense(4)(b)])
    inner = keras.Sequential([keras.Input((None, 4)), layers.LSTM(3, return_sequences=True)])
    outputs = [layers.Dense(2)(h), layers.TimeDistributed(layers.Dense(2))(inner(h))]
    model = keras.Model([a, b], outputs)
    model.compile(keras.optimizers.SGD(0.0), ["mse", "mse"])
    inputs = {"b": begin, "a": x} if names else [x, begin]
    history = (
        conveyor.tbptt(model, 4)
        .fit(inputs, [y, 2 * y], batch_size=5, validation_data=(inputs, [y, 2 * y]), verbose=0)
        .history
    )
    assert_close(np.array(history["loss"]), np.array(history["val_loss"]))


def test_a_learned_initial_state_is_learned_from_the_first_window() -> None:
    x, y = data(time_steps=8)
    model = keras.Sequential(
        [
            keras.Input((None, 3)),
            conveyor.LSTM(2, return_sequences=True, initial_state="learned"),
        ]
    )
    model.compile(keras.optimizers.SGD(RATE), "mse")
    seen = []
    watch = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(watch.model.get_weights()[3].copy())
    )
    conveyor.tbptt(model, 4).fit(x, y, batch_size=5, callbacks=[watch], verbose=0)
    assert seen[0].any()
    assert_close(seen[1], seen[0])


# ------------------------------------------------------------------------------- data


class Bucketed(keras.utils.PyDataset):
    """Batches of several lengths."""

    def __len__(self):
        return 3

    def __getitem__(self, n):
        x, y = data(time_steps=[9, 4, 14][n])
        return x[: n + 2], y[: n + 2]


def test_batches_of_several_lengths() -> None:
    model = model_of()
    expected = model.get_weights()
    for n in range(3):
        expected = by_hand(expected, *Bucketed()[n], batch_size=9, window=4, epochs=1)
    conveyor.tbptt(model, 4).fit(Bucketed(), shuffle=False, verbose=0)
    for actual, weight in zip(model.get_weights(), expected, strict=True):
        assert_close(actual, weight)
    conveyor.tbptt(model, 4).fit(Bucketed(), epochs=2, verbose=0)
    assert int(model.optimizer.iterations) == 3 * (3 + 1 + 4)


def test_generators() -> None:
    def forever():
        n = 0
        while True:
            yield Bucketed()[n % 3]
            n += 1

    model = model_of()
    given = {"shuffle": False, "verbose": 0}
    conveyor.tbptt(model, 4).fit(forever(), steps_per_epoch=2, epochs=3, **given)
    assert int(model.optimizer.iterations) == 2 * (3 + 1 + 4)
    once = (Bucketed()[n] for n in range(3))
    with pytest.raises(Exception, match=r"a generator that has ended(.|\n)*steps_per_epoch"):
        conveyor.tbptt(model, 4).fit(once, epochs=2, **given)
    assert not vars(model).get("train_step")


def test_sequences_are_shuffled_and_their_time_steps_are_not() -> None:
    x = np.arange(24.0).reshape(8, 3, 1)
    model = keras.Sequential([keras.Input((None, 1)), layers.LSTM(1, return_sequences=True)])
    given = {"y": x, "sample_weight": None, "batch_size": 8, "steps": None}
    windows = Windows(Batches(x, shuffle=True, **given), 2, time_axis_of(model))
    epochs = []
    for _ in range(2):
        parts = [y for _, y in windows.get_numpy_iterator()]
        epochs.append(np.concatenate(parts, axis=1)[:, :, 0])
    for whole in epochs:
        assert_close(whole - whole[:, :1], np.tile([0.0, 1.0, 2.0], (8, 1)))
        assert sorted(whole[:, 0]) == list(x[:, 0, 0])
    assert (epochs[0] != epochs[1]).any()


# ------------------------------------------------------------------- the model, afterwards


def attributes(model):
    known = [model, *model.layers]
    return [{name: id(value) for name, value in vars(item).items()} for item in known]


@pytest.mark.parametrize("kind", KINDS)
def test_the_model_is_as_it_was_but_trained(kind, tmp_path) -> None:
    x, y = data()
    model = model_of(kind, 11)
    model.predict(x, verbose=0)
    model.fit(x, y, validation_data=(x, y), verbose=0)
    names = [set(a) for a in attributes(model)]
    config, variables = model.get_config(), [v.path for v in model.variables]
    steps = [a for a in attributes(model)[0].items() if "step" in a[0]]
    checkpoint = keras.callbacks.ModelCheckpoint(tmp_path / "model.keras")
    batches = []
    count = keras.callbacks.LambdaCallback(on_train_batch_end=lambda n, logs: batches.append(n))
    history = conveyor.tbptt(model, 4).fit(
        x,
        y,
        batch_size=2,
        epochs=3,
        initial_epoch=1,
        validation_split=0.4,
        callbacks=[checkpoint, count],
        verbose=0,
    )
    assert history.epoch == [1, 2]
    assert batches == [*range(6), *range(6)]
    assert len(history.history["val_loss"]) == 2
    assert model.get_config() == config
    assert [v.path for v in model.variables] == variables
    assert [set(a) for a in attributes(model)] == names
    assert [a for a in attributes(model)[0].items() if "step" in a[0]] == steps
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert_close(again.predict(x, verbose=0), model.predict(x, verbose=0))
    assert_close(model.predict(x[:1], verbose=0), model.predict(x, verbose=0)[:1])
    model.fit(x, y, verbose=0)  # on whole sequences, as before


def test_the_model_is_as_it_was_after_an_error() -> None:
    x, y = data()
    model = model_of()

    def stop(batch, logs):
        raise KeyboardInterrupt

    watch = keras.callbacks.LambdaCallback(on_train_batch_end=stop)
    with pytest.raises(KeyboardInterrupt):
        conveyor.tbptt(model, 4).fit(x, y, callbacks=[watch], verbose=0)
    assert "train_step" not in vars(model)
    assert not any("hidden_state" in v.path for v in model.variables)
    assert model.predict(x, verbose=0).shape == y.shape


@only_on("jax", "tensorflow")
def test_windows_are_compiled_once() -> None:
    traced = []

    def watched(z):
        traced.append(z.shape)
        return keras.ops.tanh(z)

    x, y = data(sequences=5, time_steps=40)
    model = keras.Sequential([keras.Input((None, 3)), conveyor.LSTM(4, return_sequences=True)])
    model.add(layers.Dense(2, activation=watched))
    model.compile("sgd", "mse")
    model.build((None, None, 3))
    traced.clear()
    seen = []
    watch = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append(len(traced))
    )
    conveyor.tbptt(model, 4).fit(x, y, batch_size=2, epochs=4, callbacks=[watch], verbose=0)
    assert seen[0] <= 3  # for its shape, for a batch of 2, for one of 1
    assert seen[0] == seen[-1]


# -------------------------------------------------------------------------------- errors


def whole(layer, output=None):
    x = keras.Input((12, 3))
    h = layer(x)
    return keras.Model(x, output(h) if output else h)


SEQUENCES = {"return_sequences": True}


@pytest.mark.any_backend
@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: whole(layers.Bidirectional(layers.LSTM(2, **SEQUENCES))), "last time step first"),
        (lambda: whole(layers.LSTM(2, go_backwards=True, **SEQUENCES)), "last time step first"),
        (lambda: whole(conveyor.LSTM(2)), r"known at the end(.|\n)*return_sequences=True"),
        (lambda: whole(conveyor.LSTM(2, stateful=True, **SEQUENCES)), "stateful=True"),
        (lambda: whole(layers.Conv1D(3, 3), layers.LSTM(2, **SEQUENCES)), "several time steps"),
        (lambda: whole(layers.Dense(3)), "with an LSTM inside"),
        (lambda: keras.Sequential([conveyor.LSTM(2)]), "not built"),
    ],
)
def test_models_that_are_others_in_windows_are_refused(make, says) -> None:
    with pytest.raises(ConveyorError, match=says):
        conveyor.tbptt(make(), 4)


@pytest.mark.any_backend
def test_layers_that_are_called_twice_or_begin_with_an_end_are_refused() -> None:
    x = keras.Input((None, 3))
    twice = layers.LSTM(3, **SEQUENCES)
    with pytest.raises(ConveyorError, match="called twice"):
        conveyor.tbptt(keras.Model(x, twice(twice(x))), 4)
    _, *end = layers.LSTM(3, return_state=True)(x)
    with pytest.raises(ConveyorError, match="initial_state is known at the end"):
        conveyor.tbptt(keras.Model(x, layers.LSTM(3, **SEQUENCES)(x, initial_state=end)), 4)


@pytest.mark.any_backend
@pytest.mark.parametrize("window", [0, -1, 2.0, True, None])
def test_windows_are_numbers_of_steps(window) -> None:
    with pytest.raises(ConveyorError, match="number of time steps from 1"):
        conveyor.tbptt(model_of(), window)


@pytest.mark.any_backend
def test_wrong_calls_of_fit_teach() -> None:
    x, y = data()
    model = model_of()
    with pytest.raises(ConveyorError, match=r"y of shape \(5, 2\)(.|\n)*np.repeat"):
        conveyor.tbptt(model, 4).fit(x, y[:, 0])
    with pytest.raises(ConveyorError, match=r"y of shape \(5, 10, 2\)"):
        conveyor.tbptt(model, 4).fit(x, y[:, 1:])
    bare = keras.Sequential([keras.Input((None, 3)), *model.layers])
    with pytest.raises(ConveyorError, match=r"model\.compile"):
        conveyor.tbptt(bare, 4).fit(x, y)
    a, b = keras.Input((None, 3)), keras.Input((None, 3))
    with pytest.raises(ConveyorError, match=r"class_weight(.|\n)*sample_weight=np"):
        conveyor.tbptt(model, 4).fit(x, y, class_weight={0: 1.0})
    two = keras.Model([a, b], layers.LSTM(2, **SEQUENCES)(layers.Concatenate()([a, b])))
    two.compile("sgd", "mse")
    with pytest.raises(ConveyorError, match="inputs of one length"):
        conveyor.tbptt(two, 4).fit([x, x[:, 1:]], y)


def test_resets_are_cut_with_the_steps() -> None:
    def model_with(initial_state=None):
        keras.utils.set_random_seed(0)
        x, resets = keras.Input((None, 3)), keras.Input((None,), dtype="bool")
        layer = conveyor.LSTM(4, return_sequences=True, initial_state=initial_state)
        model = keras.Model([x, resets], layers.Dense(2)(layer(x, resets=resets)))
        model.compile(keras.optimizers.SGD(RATE), "mse")
        return model

    x, y = data(sequences=2, time_steps=10)
    resets = np.zeros((2, 10), bool)
    resets[:, [5, 7]] = True
    together, apart = model_with(), model_with()
    conveyor.tbptt(together, 5).fit([x, resets], y, shuffle=False, verbose=0)
    for at in (np.s_[:, :5], np.s_[:, 5:]):  # nothing crosses step 5
        apart.fit([x[at], resets[at]], y[at], shuffle=False, verbose=0)
    for actual, expected in zip(together.get_weights(), apart.get_weights(), strict=True):
        assert_close(actual, expected)
    with pytest.raises(ConveyorError, match="learned"):
        conveyor.tbptt(model_with("learned"), 5)
