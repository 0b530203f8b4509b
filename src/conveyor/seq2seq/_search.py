"""The search for the target: greedy, one token after the other, a batch at a time."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from ._characters import BEGIN, END, PADDING
from ._decoder import Decoder
from ._encoder import Array, Encoder, States


def greedy(decoder: Decoder, states: States, max_length: int) -> Array:
    """The likeliest token at each step, until all targets of the batch have ended.

    One loop of `keras.ops`, so that it compiles as a whole.

    Args:
        decoder: (B, 1) tokens and states to (B, 1, vocabulary_size) logits and states.
        states: the encoder's, (B, U) each.
        max_length: L, the number of steps after which a target is cut off.

    Returns:
        (B, L) tokens; after the end there is padding.
    """
    padding: Any = ops.full_like(states[0][:, :1], PADDING, dtype="int32")  # (B, 1)

    def unfinished(step: Array, last: Array, *_: Array) -> Array:
        return ops.logical_and(step < max_length, ops.any(_goes_on(last)))

    def write_next(
        step: Array, last: Array, hidden_state: Array, cell_state: Array, written: Array
    ) -> tuple[Array, ...]:
        logits, states = decoder(last, (hidden_state, cell_state))
        likeliest = ops.cast(ops.argmax(logits, axis=-1), "int32")
        following = ops.where(_goes_on(last), likeliest, padding)
        return (step + 1, following, *states, ops.slice_update(written, (0, step), following))

    nothing_written = ops.repeat(padding, max_length, axis=1)
    begin = ops.full_like(padding, BEGIN)
    step = ops.convert_to_tensor(0, "int32")
    written: Any = ops.while_loop(unfinished, write_next, (step, begin, *states, nothing_written))
    return written[-1]


def _goes_on(last: Array) -> Array:
    return ops.logical_and(ops.not_equal(last, END), ops.not_equal(last, PADDING))


class GreedySearch(keras.Model):
    """Source tokens (B, T) to target tokens (B, L).

    A model and not a function, so that Keras compiles it, on every backend, in
    `predict_on_batch`. It owns no weights but those of the two it searches with.
    """

    def __init__(self, encoder: Encoder, decoder: Decoder, max_length: int) -> None:
        super().__init__(name="greedy_search")
        self.encoder = encoder
        self.decoder = decoder
        self.max_length = max_length
        self.built = True

    def call(self, tokens: Array) -> Array:
        """Target tokens (B, L) of source tokens (B, T)."""
        return greedy(self.decoder, self.encoder(tokens), self.max_length)
