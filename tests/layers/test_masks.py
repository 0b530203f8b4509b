"""Padding, holes and lengths: the numbers of the unpadded sequences, also through stacks."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import layers

from conveyor import LSTM, Input
from frameworks import assert_close, to_numpy

T, F = 6, 3


def stack(go_backwards: bool = False):
    x = Input((None, F))
    lengths = Input((), dtype="int32")
    y = LSTM(4, return_sequences=True, go_backwards=go_backwards)(x, lengths=lengths)
    y = layers.Dropout(0.5)(y)
    y = layers.Bidirectional(LSTM(3, return_sequences=True))(y)
    y = LSTM(4, outputs=("hidden_states", "cell_state"))(y)
    return keras.Model([x, lengths], [*y])


@pytest.mark.parametrize("go_backwards", [False, True])
def test_lengths_go_through_a_stack(go_backwards) -> None:
    model = stack(go_backwards)

    @given(lengths=st.lists(st.integers(1, T), min_size=2, max_size=4), seed=st.integers(0, 9))
    def padded_is_unpadded(lengths, seed) -> None:
        x = np.random.default_rng(seed).normal(size=(len(lengths), T, F)).astype("float32")
        hs, c = model([x, np.array(lengths, "int32")])
        for b, n in enumerate(lengths):
            alone_hs, alone_c = model([x[b : b + 1, :n], np.array([n], "int32")])
            # Read backwards, the padding of the first layer comes first.
            rows = slice(T - n, None) if go_backwards else slice(n)
            assert_close(to_numpy(hs)[b : b + 1, rows], alone_hs)
            assert_close(to_numpy(c)[b : b + 1], alone_c)

    padded_is_unpadded()


@given(mask=st.lists(st.lists(st.booleans(), min_size=T, max_size=T), min_size=2, max_size=4))
def test_any_pattern_is_the_sequence_without_its_holes(mask) -> None:
    layer = LSTM(4, outputs=("hidden_state", "cell_state", "hidden_states", "input_gates"))
    mask = np.array(mask)
    x = np.random.default_rng(0).normal(size=(len(mask), T, F)).astype("float32")
    h, c, hs, gates = (to_numpy(v) for v in layer(x, mask=mask))
    for b, row in enumerate(mask):
        if not row.any():
            assert not h[b].any()
            assert not c[b].any()
            continue
        alone = [to_numpy(v) for v in layer(x[b : b + 1, row])]
        assert_close(h[b : b + 1], alone[0])
        assert_close(c[b : b + 1], alone[1])
        assert_close(hs[b : b + 1, row], alone[2])
        assert not gates[b, ~row].any()


def test_the_mask_of_an_embedding_is_kept_beside_an_initial_state() -> None:
    # Keras drops it there: with initial_state it looks for an argument sequences_mask.
    tokens = np.array([[3, 1, 2, 0, 0]])
    embedding = layers.Embedding(5, F, mask_zero=True)
    layer = LSTM(4, outputs=("hidden_state", "cell_state"))
    state = [np.full((1, 4), 0.5, "float32"), np.full((1, 4), -0.5, "float32")]
    padded = layer(embedding(tokens), initial_state=state)
    unpadded = layer(embedding(tokens[:, :3]), initial_state=state)
    assert_close(padded[0], unpadded[0])
    assert_close(padded[1], unpadded[1])


def test_so_it_is_in_compiled_code() -> None:
    # There JAX has no place on its arrays to keep a mask; Keras keeps it elsewhere.
    tokens = keras.Input((None,), dtype="int32")
    h0, c0 = keras.Input((4,)), keras.Input((4,))
    vectors = layers.Embedding(5, F, mask_zero=True)(tokens)
    model = keras.Model([tokens, h0, c0], LSTM(4)(vectors, initial_state=[h0, c0]))
    x = np.array([[3, 1, 2, 0, 0]])
    states = [np.full((1, 4), 0.5, "float32"), np.full((1, 4), -0.5, "float32")]
    padded = model.predict([x, *states], verbose=0)
    assert_close(padded, model.predict([x[:, :3], *states], verbose=0))


class Decoding(keras.Model):
    def __init__(self):
        super().__init__()
        self.embedding = layers.Embedding(5, F, mask_zero=True)
        self.lstm = LSTM(4)

    def call(self, tokens):
        vectors = self.embedding(tokens)
        state = vectors[:, 0, :1] * np.ones((1, 4), "float32")
        return self.lstm(vectors, initial_state=[state, state])


def test_so_it_is_in_a_compiled_subclassed_model() -> None:
    model, x = Decoding(), np.array([[3, 1, 2, 0, 0]])
    padded = model.predict(x, verbose=0)
    assert_close(padded, model.predict(x[:, :3], verbose=0))


def test_lengths_and_mask_together_are_both_heeded() -> None:
    layer = LSTM(4)
    x = np.random.default_rng(0).normal(size=(1, 4, F)).astype("float32")
    mask = np.array([[True, False, True, True]])
    assert_close(layer(x, mask=mask, lengths=[3]), layer(x[:, [0, 2]]))


def test_lengths_of_zero_give_the_initial_state() -> None:
    layer = LSTM(4, outputs=("hidden_state", "hidden_states"))
    h0, c0 = np.ones((2, 4), "float32"), np.ones((2, 4), "float32")
    h, hs = layer(np.ones((2, 3, F), "float32"), lengths=[0, 3], initial_state=[h0, c0])
    assert (to_numpy(h)[0] == 1).all()
    assert (to_numpy(hs)[0] == 1).all()
    assert (to_numpy(h)[1] != 1).all()


def test_zero_output_for_mask_is_for_what_has_a_time_axis() -> None:
    names = ("hidden_states", "cell_states", "hidden_state", "cell_state")
    layer = LSTM(4, outputs=names, zero_output_for_mask=True)
    hs, cs, h, c = (to_numpy(v) for v in layer(np.ones((1, 3, F), "float32"), lengths=[2]))
    assert not hs[:, 2].any()
    assert not cs[:, 2].any()
    assert (h == hs[:, 1]).all()
    assert (c == cs[:, 1]).all()


def test_save_and_load_a_model_with_lengths(tmp_path) -> None:
    model = stack()
    x = [
        np.random.default_rng(0).normal(size=(2, T, F)).astype("float32"),
        np.array([2, 5], "int32"),
    ]
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    for a, b in zip(again(x), model(x), strict=True):
        assert_close(a, b)


def test_bidirectional_merges_the_first_output_and_gives_the_others_by_direction() -> None:
    x = np.random.default_rng(0).normal(size=(2, T, F)).astype("float32")
    both = layers.Bidirectional(LSTM(4, outputs=("hidden_states", "cell_states")))
    merged, forward, backward = both(x)
    hs, cs = both.forward_layer(x)
    hs_back, cs_back = both.backward_layer(x)
    assert_close(merged, np.concatenate([to_numpy(hs), to_numpy(hs_back)[:, ::-1]], axis=-1))
    assert_close(forward, cs)
    assert_close(backward, cs_back)  # in the order read, last step first
