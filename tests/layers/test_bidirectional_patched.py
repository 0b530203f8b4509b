"""Keras's own `Bidirectional` under `patch_keras`: both directions in one call, Keras's numbers."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

import conveyor
from conveyor import LSTM
from conveyor._engines import _library
from conveyor.layers import recording, running_on
from frameworks import BACKEND, assert_close, to_numpy

B, T, F, U = 3, 5, 4, 6
RNG = np.random.default_rng(0)
X = RNG.normal(size=(B, T, F)).astype("float32")
MASK = RNG.random((B, T)) > 0.3
STATES = [RNG.normal(size=(B, U)).astype("float32") for _ in range(4)]
TOGETHER = [2] if _library.missing() is None else []
DRAWN = {"dropout": 0.3, "recurrent_dropout": 0.3, "seed": 1}


def both(layer, **options):
    """Keras's wrapper, with random weights, all different."""
    keras.utils.set_random_seed(1)
    wrapper = layers.Bidirectional(layer(), **options)
    wrapper.build((B, T, F))
    rng = np.random.default_rng(1)
    for weight in wrapper.trainable_variables:
        weight.assign(rng.normal(size=weight.shape) * 0.5)
    return wrapper


def lstm(kind=layers.LSTM, **options):
    return lambda: kind(U, **options)


def same(found, expected) -> None:
    keras.tree.assert_same_structure(found, expected)
    pairs = zip(keras.tree.flatten(found), keras.tree.flatten(expected), strict=True)
    for a, e in pairs:
        assert a.dtype == e.dtype
        assert_close(a, e, keras.backend.standardize_dtype(e.dtype))


FLAGS = [{"return_sequences": s, "return_state": r} for s in (False, True) for r in (False, True)]
LAYERS = {
    **{f"flags {n}": (lstm(**flags), {}) for n, flags in enumerate(FLAGS)},
    **{
        f"merged {mode}": (lstm(**FLAGS[3]), {"merge_mode": mode}) for mode in ("sum", "mul", "ave")
    },
    "apart": (lstm(), {"merge_mode": None}),
    "apart, states": (lstm(**FLAGS[3]), {"merge_mode": None}),
    "drawn": (lstm(**DRAWN), {}),
    "rnn": (lambda: layers.RNN(layers.LSTMCell(U, use_bias=False), return_sequences=True), {}),
    "our cell": (lambda: layers.RNN(conveyor.LSTMCell(U, peephole=True)), {}),
    "backward first": (lstm(go_backwards=True), {"backward_layer": layers.LSTM(U)}),
    "mixed": (lstm(dtype="mixed_bfloat16"), {"dtype": "mixed_bfloat16"}),
    "ours": (lstm(LSTM, **FLAGS[3]), {}),
}


@pytest.mark.parametrize("name", LAYERS)
def test_same_numbers(name, asked) -> None:
    layer, options = LAYERS[name]
    theirs, ours = both(layer, **options), both(layer, **options)
    for call in (
        {},
        {"mask": MASK},
        {"initial_state": STATES, "training": True},
        {"mask": MASK, "training": True},
    ):
        expected = theirs(X, **call)
        asked.clear()
        with conveyor.patch_keras():
            found = ours(X, **call)
        assert asked == TOGETHER
        same(found, expected)


@keras.saving.register_keras_serializable(package="patched")
class Named(layers.LSTM):
    pass


OTHERS = {
    "gru": lambda: layers.GRU(U),
    "derived": lambda: Named(U),
    "stateful": lstm(stateful=True),
    "unroll": lstm(unroll=True),
    "regularizer": lstm(activity_regularizer="l2"),
    "dtype": lstm(dtype="mixed_bfloat16"),
    "cell of another dtype": lambda: layers.RNN(layers.LSTMCell(U, dtype="mixed_bfloat16")),
    "stack": lambda: layers.RNN([layers.LSTMCell(U), layers.LSTMCell(U)]),
}


@pytest.mark.parametrize("other", OTHERS)
def test_others_are_called_one_after_the_other(other, asked) -> None:
    theirs, ours = both(OTHERS[other]), both(OTHERS[other])
    expected = theirs(X)
    with conveyor.patch_keras():
        found = ours(X)
    assert_close(found, expected, "bfloat16" if "dtype" in other else "float32")
    assert len(ours.losses) == len(theirs.losses)
    assert 2 not in asked


def test_it_is_undone_and_each_layer_keeps_what_it_was_told(asked) -> None:
    original, wrapper = layers.Bidirectional.call, both(lstm())
    expected = wrapper(X)
    with conveyor.patch_keras():
        assert layers.Bidirectional.call is not original
        with recording() as records:
            assert_close(wrapper(X), expected)
        assert [r.layer.name for r in records] == [
            wrapper.forward_layer.name,
            wrapper.backward_layer.name,
        ]
        asked.clear()
        with running_on([wrapper.forward_layer, wrapper.backward_layer], "portable"):
            assert_close(wrapper(X), expected)
    assert layers.Bidirectional.call is original
    wrapper(X)
    assert not asked


def test_trained_in_fit(asked) -> None:
    def trained():
        inner = both(lstm(return_sequences=True, **DRAWN))
        model = keras.Sequential([keras.Input((T, F)), layers.Masking(), inner, layers.Dense(1)])
        model.compile("sgd", "mse")
        x = X * MASK[..., None]
        losses = model.fit(x, X[..., :1], epochs=3, verbose=0, shuffle=False).history["loss"]
        return losses, model.predict(x, verbose=0)

    expected = trained()
    assert not asked
    with conveyor.patch_keras():
        found = trained()
    assert set(asked) == set(TOGETHER)
    for a, e in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, e, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(BACKEND != "torch", reason="a second look at PyTorch's tape")
@pytest.mark.parametrize("name", [name for name in LAYERS if name != "mixed"])
def test_gradients_on_torch(name) -> None:
    import torch

    layer, options = LAYERS[name]

    def slopes():
        wrapper, x = both(layer, **options), torch.tensor(X, requires_grad=True)
        returned = wrapper(x, mask=torch.tensor(MASK), training=True)
        sum((y**2).sum() for y in keras.tree.flatten(returned)).backward()
        return [x.grad, *(w.value.grad for w in wrapper.trainable_variables)]

    expected = slopes()
    with conveyor.patch_keras():
        found = slopes()
    for a, e in zip(found, expected, strict=True):
        assert_close(a, to_numpy(e), scale=10)
