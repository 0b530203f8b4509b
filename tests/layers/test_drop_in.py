"""`conveyor.LSTM` where `keras.layers.LSTM` was: the same numbers, files and places."""

from __future__ import annotations

import contextlib
import inspect

import keras
import numpy as np
import pytest
from keras import layers

from conveyor import LSTM, Input, LSTMCell
from conveyor.layers import recording
from frameworks import BACKEND, Unhashable, assert_close, to_numpy

B, T, F, U = 3, 6, 4, 5
RNG = np.random.default_rng(0)
X = RNG.normal(size=(B, T, F)).astype("float32")
MASK = np.array([[1, 1, 1, 1, 0, 0], [0, 0, 1, 1, 1, 1], [1, 0, 1, 0, 0, 1]], bool)
STATES = [RNG.normal(size=(B, U)).astype("float32") for _ in range(2)]


def twins(**arguments):
    """One layer of Keras and one of conveyor with the same random weights."""
    theirs, ours = layers.LSTM(U, **arguments), LSTM(U, **arguments)
    theirs.build((B, T, F))
    ours.build((B, T, F))
    rng = np.random.default_rng(1)
    theirs.set_weights([rng.normal(size=w.shape) * 0.5 for w in theirs.weights])
    ours.set_weights(theirs.get_weights())
    return theirs, ours


def flat(value):
    return list(value) if isinstance(value, (tuple, list)) else [value]


def assert_same(actual, expected, dtype="float32", scale=1.0) -> None:
    assert len(flat(actual)) == len(flat(expected))
    for a, e in zip(flat(actual), flat(expected), strict=True):
        assert keras.backend.standardize_dtype(a.dtype) == keras.backend.standardize_dtype(e.dtype)
        assert_close(a, e, dtype, scale)


@pytest.mark.parametrize(
    "call", [{}, {"mask": MASK}, {"initial_state": STATES}], ids=["plain", "mask", "states"]
)
@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"return_sequences": True},
        {"return_state": True},
        {"return_sequences": True, "return_state": True},
        {"return_sequences": True, "return_state": True, "go_backwards": True},
        {"return_sequences": True, "zero_output_for_mask": True},
        {"zero_output_for_mask": True},
        {"use_bias": False},
        {"activation": "relu", "recurrent_activation": "hard_sigmoid"},
        {"activation": None, "recurrent_activation": "softmax"},
        {"implementation": 1},
    ],
    ids=str,
)  # fmt: skip
def test_same_numbers(arguments, call) -> None:
    theirs, ours = twins(**arguments)
    assert_same(ours(X, **call), theirs(X, **call))


@pytest.mark.parametrize("rates", [(0.4, 0.0), (0.0, 0.4), (0.3, 0.3)], ids=str)
@pytest.mark.parametrize("mask", [None, MASK], ids=["plain", "mask"])
def test_same_dropout(rates, mask) -> None:
    dropout, recurrent_dropout = rates
    theirs, ours = twins(
        dropout=dropout, recurrent_dropout=recurrent_dropout, seed=3, return_sequences=True
    )
    for _ in range(2):  # a new mask at each call
        assert_same(ours(X, mask=mask, training=True), theirs(X, mask=mask, training=True))


def test_dropout_is_one_mask_shared_over_time() -> None:
    layer = LSTM(4, dropout=0.5, activation="linear", recurrent_activation="linear", seed=1)
    layer.build((1, 3, 8))
    still = np.ones((1, 3, 8), "float32")
    # Candidates see only x W here: with one mask, they are the same at each step.
    layer.set_weights([np.random.rand(8, 16), np.zeros((4, 16)), np.zeros(16)])
    layer.outputs = ("candidates",)
    first, second = (to_numpy(layer(still, training=True)) for _ in range(2))
    assert (first[:, 0] == first[:, 1]).all()
    assert (first != second).any()


def float64_allowed():
    if BACKEND != "jax":
        return contextlib.nullcontext()
    import jax

    return jax.enable_x64(True)


@pytest.mark.parametrize("policy", ["float64", "mixed_float16", "mixed_bfloat16"])
def test_dtype_policies(policy) -> None:
    with float64_allowed():
        check_dtype_policy(policy)


def check_dtype_policy(policy: str) -> None:
    theirs, ours = twins(dtype=policy, return_sequences=True, return_state=True)
    dtype = theirs.compute_dtype
    x = X.astype("float64")
    # Keras loses float64 on torch, and computes 16-bit states in 16 bits; conveyor does not.
    for a, e in zip(flat(ours(x)), flat(theirs(x)), strict=True):
        assert keras.backend.standardize_dtype(a.dtype) == dtype
        assert_close(a, e, "float32" if dtype == "float64" else dtype)


def test_arguments_and_defaults_are_those_of_keras() -> None:
    for ours, theirs in ((LSTM, layers.LSTM), (LSTMCell, layers.LSTMCell)):
        ours_, theirs_ = (inspect.signature(c.__init__).parameters for c in (ours, theirs))
        for name, parameter in theirs_.items():
            if name != "kwargs":
                assert ours_[name].default == parameter.default, name
        order = [n for n in ours_ if n in theirs_]
        assert order == list(theirs_)


@pytest.mark.parametrize("cls", [LSTM, LSTMCell])
def test_config_has_every_argument_and_gives_it_back(cls) -> None:
    given = {
        "units": 7, "activation": "relu", "recurrent_activation": "hard_sigmoid", "use_bias": False,
        "kernel_initializer": "ones", "recurrent_initializer": "zeros", "bias_initializer": "ones",
        "unit_forget_bias": False, "kernel_regularizer": "l1", "recurrent_regularizer": "l2",
        "bias_regularizer": "l1", "activity_regularizer": "l2", "kernel_constraint": "max_norm",
        "recurrent_constraint": "non_neg", "bias_constraint": "unit_norm", "dropout": 0.1,
        "recurrent_dropout": 0.2, "seed": 5, "return_sequences": True, "return_state": True,
        "go_backwards": True, "stateful": True, "unroll": True, "use_cudnn": False,
        "outputs": None, "engine": "portable", "zero_output_for_mask": True, "implementation": 1,
        "initial_state": None, "keras_masks": True, "remat": 3,
        "num_layers": 2, "bidirectional": False, "merge_mode": "concat", "inter_layer_dropout": 0.3,
        "peephole": True, "coupled": True, "output_transform": True, "projection": 3,
        "layer_norm": ("gates", "cell"), "zoneout": (0.1, 0.2), "recurrent_weight_dropout": 0.1,
        "clip": 3.0, "cell_clip": 2.0, "output_activation": "relu",
        "name": "a_name", "dtype": "float64", "trainable": False,
    }  # fmt: skip
    named = set(inspect.signature(cls.__init__).parameters) - {"self", "kwargs"}
    given = {n: v for n, v in given.items() if n in named | {"name", "dtype", "trainable"}}
    assert named <= set(given)
    config = cls(**given).get_config()
    assert set(given) <= set(config)
    again = cls.from_config(config)
    assert again.get_config() == config
    for name in ("units", "dropout", "use_bias", "implementation", "name"):
        assert getattr(again, name) == given[name]
    if cls is LSTM:
        assert again.use_cudnn is False
        assert again.get_config()["engine"] == "portable"


def test_outputs_survive_config() -> None:
    layer = LSTM(3, outputs=["cell_states", "hidden_state"])
    again = LSTM.from_config(layer.get_config())
    assert again.output_names() == ("cell_states", "hidden_state")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert again.output_names() == ("cell_states", "hidden_state")


# Places -------------------------------------------------------------------------------


class Subclassed(keras.Model):
    def __init__(self, lstm):
        super().__init__()
        self.first = lstm(5, return_sequences=True)
        self.last = lstm(3)

    def call(self, x):
        return self.last(self.first(x))


def sequential(lstm, cell):
    return keras.Sequential([Input((T, F)), lstm(5, return_sequences=True), lstm(3)])


def functional(lstm, cell):
    x = Input((T, F))
    encoded, h, c = lstm(5, return_sequences=True, return_state=True)(x)
    return keras.Model(x, lstm(5)(encoded, initial_state=[h, c]))


def subclassed(lstm, cell):
    model = Subclassed(lstm)
    model(X)
    return model


def masking(lstm, cell):
    return keras.Sequential(
        [Input((T, F)), layers.Masking(0.0), lstm(5, return_sequences=True), lstm(3)]
    )


def bidirectional(lstm, cell):
    return keras.Sequential(
        [
            Input((T, F)),
            layers.Masking(0.0),
            layers.Bidirectional(lstm(5, return_sequences=True)),
            layers.Bidirectional(lstm(3), merge_mode="sum"),
        ]
    )


def bidirectional_states(lstm, cell):
    x = Input((T, F))
    return keras.Model(
        x, layers.Bidirectional(lstm(5, return_sequences=True, return_state=True))(x)
    )


def rnn_of_cell(lstm, cell):
    return keras.Sequential(
        [Input((T, F)), layers.Masking(0.0), layers.RNN(cell(5), return_sequences=True)]
    )


def stacked_cells(lstm, cell):
    return keras.Sequential([Input((T, F)), layers.RNN([cell(5), cell(3)], return_sequences=True)])


def time_distributed(lstm, cell):
    x = Input((T, F))
    rows = layers.Reshape((2, T // 2, F))(x)
    return keras.Model(x, layers.TimeDistributed(lstm(5))(rows))


PLACES = [
    sequential, functional, subclassed, masking, bidirectional, bidirectional_states,
    rnn_of_cell, stacked_cells, time_distributed,
]  # fmt: skip


@pytest.mark.parametrize("place", PLACES, ids=lambda p: p.__name__)
def test_places_and_weight_files_both_ways(place, tmp_path) -> None:
    theirs, ours = place(layers.LSTM, layers.LSTMCell), place(LSTM, LSTMCell)
    x = X * MASK[:, :, None]
    for source, target, name in ((theirs, ours, "theirs"), (ours, theirs, "ours")):
        rng = np.random.default_rng(len(name))
        source.set_weights([rng.normal(size=w.shape) * 0.5 for w in source.weights])
        source.save_weights(tmp_path / f"{name}.weights.h5")
        target.load_weights(tmp_path / f"{name}.weights.h5")
        assert_same(ours(x), theirs(x))


@pytest.mark.parametrize(
    "place", [p for p in PLACES if p is not subclassed], ids=lambda p: p.__name__
)
def test_places_survive_a_file_and_a_clone(place, tmp_path) -> None:
    model = place(LSTM, LSTMCell)
    expected = model(X)
    model.save(tmp_path / "model.keras")
    assert_same(keras.saving.load_model(tmp_path / "model.keras")(X), expected)
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    assert_same(clone(X), expected)


def test_a_training_step_moves_the_weights_as_in_keras() -> None:
    target = np.ones((B, 3), "float32")
    models = [masking(layers.LSTM, layers.LSTMCell), masking(LSTM, LSTMCell)]
    models[1].set_weights(models[0].get_weights())
    for model in models:
        model.compile("sgd", "mse")
        model.fit(X * MASK[:, :, None], target, epochs=2, verbose=0, shuffle=False)
    for a, b in zip(models[1].get_weights(), models[0].get_weights(), strict=True):
        assert_close(a, b)


@pytest.mark.parametrize("implementation", [1, 2])
def test_dropout_in_fit(implementation) -> None:
    layer = LSTM(3, dropout=0.3, recurrent_dropout=0.3, implementation=implementation)
    model = keras.Sequential([Input((T, F)), layer])
    model.compile("adam", "mse")
    assert np.isfinite(model.fit(X, np.ones((B, 3)), epochs=2, verbose=0).history["loss"]).all()
    assert_close(model.predict(X, verbose=0), model(X))  # nothing of training is left over


def test_a_failed_call_leaves_no_dropout_mask_behind() -> None:
    layer = LSTM(3, dropout=0.5)
    layer(X)
    working = layer.cell.activation
    layer.cell.activation = lambda x: x.no_such_attribute
    with pytest.raises(AttributeError):
        layer(X, training=True)
    layer.cell.activation = working
    layer(X[:2], training=True)  # the mask of three rows would not fit


def test_regularizers_and_constraints_are_kept() -> None:
    theirs, ours = twins(kernel_regularizer="l2", bias_regularizer="l1", activity_regularizer="l2")
    theirs(X), ours(X)
    assert_close(sum(map(to_numpy, ours.losses)), sum(map(to_numpy, theirs.losses)))


def test_use_cudnn_true_is_refused_as_in_keras() -> None:
    with pytest.raises(ValueError, match='use_cudnn="auto"'):
        LSTM(3, use_cudnn=True)(X)


def test_it_is_an_lstm_of_keras_but_not_for_kernels_that_lack_something() -> None:
    assert isinstance(LSTM(3), layers.LSTM)
    assert isinstance(LSTMCell(3), layers.LSTMCell)
    # What Bidirectional asks before it runs Keras's fused kernel instead of its layers.
    assert LSTM(3).use_cudnn == "auto"
    assert LSTM(3, outputs="hidden_states").use_cudnn is False
    assert LSTM(3, engine="portable").use_cudnn is False
    with recording():
        assert LSTM(3).use_cudnn is False


def test_explain_engine() -> None:
    shown = LSTM(3).explain_engine()
    assert shown == "native engine" or shown.startswith("portable engine\n  not native:")
    layer = LSTM(3, activation=lambda x: x / 2)
    assert layer.explain_engine().startswith("portable engine\n  not native:")
    assert LSTM(3, engine="portable").explain_engine() == "portable engine"


def test_an_activation_without_a_hash() -> None:
    x = np.ones((2, 3, 2), "float32")
    layer, usual = LSTM(4, activation=Unhashable()), LSTM(4)
    layer.build(x.shape)
    usual.build(x.shape)
    usual.set_weights(layer.get_weights())
    assert_close(layer(x), usual(x))
    assert layer.explain_engine().startswith("portable engine\n  not native:")
