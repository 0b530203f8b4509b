"""`conveyor.GRU` where `keras.layers.GRU` was: the same numbers, files and places."""

from __future__ import annotations

import inspect
from itertools import pairwise

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from keras import layers

from conveyor import GRU, ConveyorError, GRUCell, Input
from conveyor._vocabulary import GRU_STATE_NAMES
from frameworks import BACKEND, assert_close, to_numpy
from grus import reference_gru

B, T, F, U = 3, 6, 4, 5
RNG = np.random.default_rng(0)
X = RNG.normal(size=(B, T, F)).astype("float32")
RIGHT = np.array([[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1], [1, 0, 0, 0, 0, 0]], bool)
HOLES = np.array([[1, 1, 1, 1, 0, 0], [0, 0, 1, 1, 1, 1], [1, 0, 1, 0, 0, 1]], bool)
STATE = RNG.normal(size=(B, U)).astype("float32")
both_forms = pytest.mark.parametrize("reset_after", [True, False])


def randomise(*models):
    """The same random weights in all of them."""
    rng = np.random.default_rng(1)
    models[0].set_weights([rng.normal(size=w.shape) * 0.5 for w in models[0].weights])
    for model in models[1:]:
        model.set_weights(models[0].get_weights())


def twins(**arguments):
    theirs, ours = layers.GRU(U, **arguments), GRU(U, **arguments)
    theirs.build((B, T, F))
    ours.build((B, T, F))
    randomise(theirs, ours)
    return theirs, ours


def flat(value):
    return list(value) if isinstance(value, (tuple, list)) else [value]


def assert_same(actual, expected) -> None:
    for a, e in zip(flat(actual), flat(expected), strict=True):
        assert keras.backend.standardize_dtype(a.dtype) == keras.backend.standardize_dtype(e.dtype)
        assert_close(a, e)


@both_forms
@pytest.mark.parametrize(
    ("arguments", "call"),
    [
        ({}, {"initial_state": STATE}),
        ({"return_sequences": True, "return_state": True}, {"mask": HOLES}),
        # Not with a state as well: on torch, Keras returns zeros until the first step that counts.
        ({"return_sequences": True, "return_state": True, "go_backwards": True}, {"mask": RIGHT}),
        ({"return_sequences": True, "zero_output_for_mask": True}, {"mask": HOLES}),
        (
            {"use_bias": False, "activation": "relu", "recurrent_activation": "hard_sigmoid"},
            {"mask": RIGHT},
        ),
        (
            {"activation": None, "recurrent_activation": "softmax"},
            {"mask": HOLES, "initial_state": [STATE]},
        ),
        ({"implementation": 1, "unroll": True}, {"mask": HOLES}),
    ],
    ids=["plain", "both", "backwards", "zeros", "no_bias", "softmax", "unroll"],
)
def test_same_numbers(arguments, call, reset_after) -> None:
    theirs, ours = twins(reset_after=reset_after, **arguments)
    if BACKEND == "torch" and not isinstance(call.get("initial_state", []), list):
        theirs = lambda x, initial_state, t=theirs: t(x, initial_state=[initial_state])  # noqa: E731
    assert_same(ours(X, **call), theirs(X, **call))


@both_forms
@pytest.mark.parametrize("implementation", [1, 2])
def test_same_dropout(implementation, reset_after) -> None:
    theirs, ours = twins(
        dropout=0.3,
        recurrent_dropout=0.4,
        seed=3,
        return_sequences=True,
        reset_after=reset_after,
        implementation=implementation,
    )
    for mask in (HOLES, None):  # a new mask at each call
        assert_same(ours(X, mask=mask, training=True), theirs(X, mask=mask, training=True))


@both_forms
def test_every_output_is_that_of_the_equations(reset_after) -> None:
    layer = GRU(U, reset_after=reset_after, outputs=GRU_STATE_NAMES, bias_initializer="uniform")
    states = layer(X, mask=HOLES, initial_state=STATE)
    kernel, recurrent_kernel, bias = layer.get_weights()
    expected = reference_gru(
        x=X, kernel=kernel, recurrent_kernel=recurrent_kernel, bias=bias, mask=HOLES,
        hidden_state=STATE, reset_after=reset_after,
    )  # fmt: skip
    for name, value in zip(GRU_STATE_NAMES, states, strict=True):
        assert_close(value, expected[name])


def test_arguments_and_defaults_are_those_of_keras() -> None:
    for ours, theirs in ((GRU, layers.GRU), (GRUCell, layers.GRUCell)):
        ours_, theirs_ = (inspect.signature(c.__init__).parameters for c in (ours, theirs))
        for name, parameter in theirs_.items():
            if name != "kwargs":
                assert ours_[name].default == parameter.default, name
        assert [n for n in ours_ if n in theirs_] == list(theirs_)


@pytest.mark.parametrize("cls", [GRU, GRUCell])
def test_config_has_every_argument_and_gives_it_back(cls) -> None:
    given_ = {
        "units": 7, "activation": "relu", "recurrent_activation": "hard_sigmoid", "use_bias": False,
        "kernel_initializer": "ones", "recurrent_initializer": "zeros", "bias_initializer": "ones",
        "kernel_regularizer": "l1", "recurrent_regularizer": "l2", "bias_regularizer": "l1",
        "activity_regularizer": "l2", "kernel_constraint": "max_norm",
        "recurrent_constraint": "non_neg", "bias_constraint": "unit_norm", "dropout": 0.1,
        "recurrent_dropout": 0.2, "seed": 5, "return_sequences": True, "return_state": True,
        "go_backwards": True, "stateful": True, "unroll": True, "use_cudnn": False,
        "reset_after": False, "outputs": None, "engine": "portable", "zero_output_for_mask": True,
        "implementation": 1, "initial_state": None, "keras_masks": True,
        "name": "a_name", "dtype": "float64", "trainable": False,
    }  # fmt: skip
    named = set(inspect.signature(cls.__init__).parameters) - {"self", "kwargs"}
    given_ = {n: v for n, v in given_.items() if n in named | {"name", "dtype", "trainable"}}
    assert named <= set(given_)
    config = cls(**given_).get_config()
    assert set(given_) <= set(config)
    assert cls.from_config(config).get_config() == config


def test_outputs_survive_config() -> None:
    layer = GRU(3, outputs=["candidates", "hidden_state"])
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert again.output_names() == ("candidates", "hidden_state")


# Places -------------------------------------------------------------------------------


def functional(gru, cell, **options):
    x = Input((T, F))
    encoded, h = gru(5, return_sequences=True, return_state=True, **options)(x)
    return keras.Model(x, gru(5, **options)(encoded, initial_state=h))


def bidirectional(gru, cell, **options):
    return keras.Sequential(
        [
            Input((T, F)),
            layers.Masking(0.0),
            layers.Bidirectional(gru(5, return_sequences=True, **options)),
            layers.Bidirectional(gru(3, **options), merge_mode="sum"),
        ]
    )


def bidirectional_states(gru, cell, **options):
    x = Input((T, F))
    layer = layers.Bidirectional(gru(5, return_sequences=True, return_state=True, **options))
    ys, *states = layer(x)
    return keras.Model(x, layers.Bidirectional(gru(5, **options))(ys, initial_state=states))


def rnn_of_cells(gru, cell, **options):
    return keras.Sequential(
        [
            Input((T, F)),
            layers.Masking(0.0),
            layers.RNN(cell(5, **options), return_sequences=True),
            layers.RNN([cell(5, **options), cell(3, **options)]),
        ]
    )


def time_distributed(gru, cell, **options):
    x = Input((T, F))
    rows = layers.Reshape((2, T // 2, F))(x)
    return keras.Model(x, layers.TimeDistributed(gru(5, **options))(rows))


PLACES = pytest.mark.parametrize(
    "place",
    [functional, bidirectional, bidirectional_states, rnn_of_cells, time_distributed],
    ids=lambda p: p.__name__,
)


@PLACES
def test_places_and_their_files(place, tmp_path) -> None:
    form = {"reset_after": place is not bidirectional}
    theirs, ours = place(layers.GRU, layers.GRUCell, **form), place(GRU, GRUCell, **form)
    x = X * HOLES[:, :, None]
    for source, target, name in ((ours, theirs, "ours"), (theirs, ours, "theirs")):
        randomise(source)
        source.save_weights(tmp_path / f"{name}.weights.h5")
        target.load_weights(tmp_path / f"{name}.weights.h5")
    expected = theirs(x)
    assert_same(ours(x), expected)
    ours.save(tmp_path / "model.keras")
    assert_same(keras.saving.load_model(tmp_path / "model.keras")(x), expected)
    clone = keras.models.clone_model(ours)
    clone.set_weights(ours.get_weights())
    assert_same(clone(x), expected)


def test_a_training_step_moves_the_weights_as_in_keras() -> None:
    models = [bidirectional(layers.GRU, None), bidirectional(GRU, None)]
    models[1].set_weights(models[0].get_weights())
    for model in models:
        model.compile("sgd", "mse")
        model.fit(X * RIGHT[:, :, None], np.ones((B, 3)), epochs=2, verbose=0, shuffle=False)
    for a, b in zip(models[1].get_weights(), models[0].get_weights(), strict=True):
        assert_close(a, b)


# Masks, resets, states ------------------------------------------------------------------


@both_forms
@settings(max_examples=5)
@given(mask=arrays.arrays(bool, (2, T)))
def test_any_pattern_is_the_sequence_without_its_holes(reset_after, mask) -> None:
    layer = GRU(U, outputs=GRU_STATE_NAMES, reset_after=reset_after, seed=1)
    hs, h, *gates = (to_numpy(v) for v in layer(X[:2], mask=mask))
    for b, row in enumerate(mask):
        assert not any(gate[b, ~row].any() for gate in gates)
        if not row.any():
            assert not h[b].any()
            continue
        alone = [to_numpy(v) for v in layer(X[b : b + 1, row])]
        for whole, part in zip((hs, *gates), (alone[0], *alone[2:]), strict=True):
            assert_close(whole[b : b + 1, row], part)
        assert_close(h[b : b + 1], alone[1])


@settings(max_examples=5)
@given(lengths=st.lists(st.integers(1, T), min_size=2, max_size=3))
def test_lengths_go_through_a_stack(lengths) -> None:
    x, n = Input((None, F)), Input((), dtype="int32")
    y = GRU(4, return_sequences=True)(x, lengths=n)
    model = keras.Model([x, n], GRU(3)(layers.Dropout(0.1)(y)))
    padded = to_numpy(model([X[: len(lengths)], np.array(lengths, "int32")]))
    for b, length in enumerate(lengths):
        alone = model([X[b : b + 1, :length], np.array([length], "int32")])
        assert_close(padded[b : b + 1], alone)


@pytest.mark.parametrize(
    ("go_backwards", "initial_state"), [(False, None), (True, None), (True, "learned")]
)
@settings(max_examples=5)
@given(resets=arrays.arrays(bool, (2, T)))
def test_sequences_behind_each_other_are_as_alone(resets, go_backwards, initial_state) -> None:
    layer = GRU(
        U, return_sequences=True, go_backwards=go_backwards, initial_state=initial_state, seed=1
    )
    layer.build((None, None, F))
    randomise(layer)
    turn = slice(None, None, -1 if go_backwards else 1)
    whole = to_numpy(layer(X[:2], resets=resets))[:, turn]
    for b in range(2):
        for begin, end in pairwise(sorted({0, *np.flatnonzero(resets[b]), T})):
            alone = to_numpy(layer(X[b : b + 1, begin:end]))[:, turn]
            assert_close(whole[b : b + 1, begin:end], alone)


def test_a_stateful_layer_goes_on_where_it_stopped() -> None:
    layer = GRU(U, stateful=True, return_sequences=True)
    first, second = (to_numpy(layer(X[:, part])) for part in (slice(2), slice(2, None)))
    (state,) = layer.get_states()
    layer.reset_state()
    whole = to_numpy(layer(X))
    assert_close(np.concatenate([first, second], axis=1), whole)
    assert_close(state, whole[:, -1])
    layer.set_states([STATE])
    assert_close(layer(X), GRUAlike(layer)(X, initial_state=STATE))
    assert len(layer.weights) == 3
    layer.reset_state()
    assert layer(X[:1]).shape == (1, T, U)


def GRUAlike(layer):
    other = GRU(U, return_sequences=True)
    other.build((None, None, F))
    other.set_weights(layer.get_weights())
    return other


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GRU(0), "units to be a positive integer"),
        (lambda: GRU(3, dropout=2), "dropout to be the fraction"),
        (lambda: GRU(3, projection=2), "got projection=2"),
        (lambda: GRU(3, num_layers=2), "got num_layers=2"),
        (lambda: GRUCell(3, clip=1.0), "got clip=1.0"),
        (lambda: GRU(3, outputs="cell_states"), "states of the GRU"),
        (lambda: GRU(3, outputs="candidates", return_state=True), "either outputs or the flags"),
        (lambda: GRU(3, initial_state=STATE), r"initial_state=\[hidden_state\]"),
        (lambda: GRU(3)(X[0]), r"\(batch, time_steps, features\)"),
        (lambda: GRU(U)(X, initial_state=[STATE, STATE]), "one tensor, .*; got 2 tensors"),
        (lambda: GRU(U)(X, initial_state=STATE[:, 1:]), r"hidden_state of shape"),
        (lambda: GRU(U)(X, mask=RIGHT[:, 1:]), "a mask of shape"),
        (lambda: GRU(U, use_cudnn=True)(X), 'use_cudnn="auto"'),
        (lambda: GRU(U).get_states(), r"GRU\(units, stateful=True\).*\[hidden_state\]"),
    ],
)
def test_mistakes(make, message) -> None:
    with pytest.raises(ConveyorError, match=message):
        make()


def test_other_features_than_at_first() -> None:
    layer = GRU(U)
    layer(X)
    with pytest.raises(ConveyorError, match=r"kernel \(4, 3 \* units\)"):
        layer(X[:, :, :3])
