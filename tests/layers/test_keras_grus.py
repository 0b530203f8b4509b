"""`patch_keras` and `accelerate` of GRUs and of stacks of cells: Keras's own numbers."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

import conveyor
from conveyor import GRUCell, LSTMCell
from frameworks import BACKEND, assert_close, to_numpy

B, T, F, U = 3, 5, 4, 6
RNG = np.random.default_rng(0)
X = RNG.normal(size=(B, T, F)).astype("float32")
HOLES = np.array([[1, 1, 1, 0, 0], [1, 0, 1, 1, 0], [1, 1, 1, 1, 1]], bool)
H, G, C = RNG.normal(size=(3, B, U)).astype("float32")
NATIVE = conveyor.engines()[0].missing is None
NOT_PLAIN = {"use_bias": False, "activation": "relu", "recurrent_activation": "hard_sigmoid"}
DRAWN = {"dropout": 0.3, "recurrent_dropout": 0.4, "seed": 3}


def rnn_of(*cells, **options):
    return lambda: layers.RNN([cell() for cell in cells] if cells[1:] else cells[0](), **options)


def gru(**options):
    return lambda: layers.GRU(U, **options)


def cell(kind=layers.GRUCell, **options):
    return lambda: kind(U, **options)


BOTH = {"return_sequences": True, "return_state": True}
# What is called, and with what.
CASES = {
    "plain": (gru(), {}),
    "state": (gru(**BOTH), {"initial_state": [H]}),
    "before": (gru(reset_after=False, return_state=True), {"mask": HOLES}),
    "holes": (gru(**BOTH), {"mask": HOLES, "initial_state": [H]}),
    "zeros": (gru(zero_output_for_mask=True), {"mask": HOLES}),
    "backwards": (gru(go_backwards=True, reset_after=False, **BOTH), {"mask": HOLES[:, ::-1]}),
    "other functions": (gru(**NOT_PLAIN, return_sequences=True), {}),
    "unroll": (gru(unroll=True, return_sequences=True), {"initial_state": [H]}),
    "dropout": (gru(dropout=0.3, seed=3), {"training": True}),
    "both dropouts": (gru(**DRAWN, reset_after=False), {"training": True, "mask": HOLES}),
    "mixed": (gru(dtype="mixed_bfloat16"), {}),
    "cell": (rnn_of(cell(reset_after=False), **BOTH), {"initial_state": [H]}),
    "our cell": (rnn_of(cell(GRUCell), zero_output_for_mask=True, **BOTH), {"mask": HOLES}),
    "stack": (rnn_of(cell(), cell(reset_after=False), **BOTH), {"mask": HOLES}),
    "our stack": (rnn_of(cell(GRUCell), cell(GRUCell), **BOTH), {"initial_state": [[H], [G]]}),
    "flat states": (rnn_of(cell(), cell(), return_state=True), {"initial_state": [H, G]}),
    "stack drawn": (rnn_of(cell(**DRAWN), cell(GRUCell, **DRAWN)), {"training": True}),
    "stack backwards": (
        rnn_of(cell(), cell(), go_backwards=True, zero_output_for_mask=True, **BOTH),
        {"mask": HOLES[:, ::-1]},
    ),
    "both kinds": (
        rnn_of(cell(), cell(layers.LSTMCell), return_state=True),
        {"initial_state": [[H], [G, C]], "mask": HOLES},
    ),
    "our both kinds": (rnn_of(cell(LSTMCell), cell(GRUCell), **BOTH), {}),
    "bidirectional": (lambda: layers.Bidirectional(gru(**BOTH)()), {"mask": HOLES}),
}


def built(make):
    """The layer, with random weights, all different."""
    keras.utils.set_random_seed(1)
    layer = make()
    layer.build((B, T, F))
    rng = np.random.default_rng(1)
    for weight in layer.trainable_variables:
        weight.assign(rng.normal(size=weight.shape) * 0.5)
    return layer


@pytest.fixture
def without_loops(monkeypatch):
    """Keras's own loops are not there when it is called."""

    def take_them():
        for name in ("rnn", "gru", "lstm"):
            monkeypatch.setattr(f"keras.src.layers.rnn.rnn.backend.{name}", None)

    return take_them


@pytest.mark.parametrize("case", CASES)
def test_patched(case, without_loops) -> None:
    make, call = CASES[case]
    expected = built(make)(X, **call)
    layer = built(make)
    without_loops()
    with conveyor.patch_keras():
        found = layer(X, **call)
    keras.tree.assert_same_structure(found, expected)
    flat = zip(keras.tree.flatten(found), keras.tree.flatten(expected), strict=True)
    for a, e in flat:
        kind = keras.backend.standardize_dtype(e.dtype)
        assert keras.backend.standardize_dtype(a.dtype) == kind
        assert_close(a, e, kind)


@pytest.mark.skipif(BACKEND != "torch", reason="gradients of the engines are tested elsewhere")
@pytest.mark.parametrize("case", CASES)
def test_gradients_on_torch(case) -> None:
    import torch

    make, call = CASES[case]

    def slopes():
        layer, x = built(make), torch.tensor(X, requires_grad=True)
        loss = sum((y**2).sum() for y in keras.tree.flatten(layer(x, **call)))
        loss.backward()
        return [x.grad, *(w.value.grad for w in layer.trainable_variables)]

    expected = slopes()
    with conveyor.patch_keras():
        found = slopes()
    for a, e in zip(found, expected, strict=True):
        assert_close(a, e, "bfloat16" if case == "mixed" else "float32", 10)


@pytest.mark.parametrize("stack", [False, True])
def test_stateful(stack, without_loops) -> None:
    def make():
        one = {"stateful": True}
        return rnn_of(cell(), cell(), **one)() if stack else gru(**one)()

    theirs, ours = built(make), built(make)
    expected = [to_numpy(theirs(x)) for x in (X, 2 * X)]
    without_loops()
    with conveyor.patch_keras():
        for x, y in zip((X, 2 * X), expected, strict=True):
            assert_close(ours(x), y)
    states = map(keras.tree.flatten, (ours.states, theirs.states))
    for a, e in zip(*states, strict=True):
        assert_close(a, e)


def test_trained_in_fit() -> None:
    def trained():
        model = keras.Sequential([keras.Input((T, F)), built(gru()), layers.Dense(1)])
        model.compile("sgd", "mse")
        return model.fit(X, H[:, :1], epochs=3, verbose=0).history["loss"]

    expected = trained()
    with conveyor.patch_keras():
        np.testing.assert_allclose(trained(), expected, rtol=1e-5)


class Doubled(layers.GRUCell):
    def call(self, inputs, states, training=False):
        output, states = super().call(inputs, states, training)
        return 2 * output, states


class Named(layers.GRU):
    pass


class Looped(layers.GRU):
    def inner_loop(self, *args, **kwargs):
        last, every, states = super().inner_loop(*args, **kwargs)
        return 2 * last, every, states


@pytest.mark.parametrize(
    ("make", "now", "why"),
    [
        (gru(), "conveyor.GRU", None),
        (gru(go_backwards=True, stateful=True), "its loop", "not built yet"),
        (rnn_of(cell()), "conveyor.GRU", None),
        (rnn_of(cell(GRUCell, reset_after=False)), "conveyor.GRU", None),
        (rnn_of(cell(), cell(LSTMCell)), "its loop", "not one plain cell"),
        (lambda: Named(U), "its loop", "class of its own"),
        (rnn_of(lambda: Doubled(U)), None, "step of its own"),
        (rnn_of(cell(), lambda: Doubled(U)), None, "step of its own"),
        (lambda: Looped(U), None, "loop of its own"),
        (gru(use_cudnn=True), None, "use_cudnn=True"),
        (gru(recurrent_activation="softmax"), None, "native engine does not compute"),
    ],
)
def test_what_becomes_of_it(make, now, why) -> None:
    layer = make()
    (plan,) = conveyor.acceleration_plan(layer)
    assert plan.now == (now if NATIVE or not now else None)
    assert (why is None and plan.why is None) or not NATIVE or why in plan.why
    if layer.stateful or getattr(layer, "use_cudnn", None) is True:
        return
    model = keras.Sequential([keras.Input((T, F)), layer])
    expected = to_numpy(model(X))
    with conveyor.patch_keras():
        assert_close(model(X), expected)
    conveyor.accelerate(model, verbose=False)
    assert_close(model(X), expected)
