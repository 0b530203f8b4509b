"""The decoder: from what it has written to a vector that says what comes next."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from ..layers import LSTM, over_time
from ..ops import lstm as ops_lstm
from ._arrays import Array, Memory, State
from ._attention import Attention
from ._bridge import States
from ._config import ModelConfig
from ._dropout import drawn_seed, dropout
from ._encoder import Encoded
from ._masks import WithOwnMasks


@keras.saving.register_keras_serializable(package="conveyor")
class Decoder(WithOwnMasks):
    """Vectors of tokens (B, L, F) to vectors (B, L, output_size), of which logits are made.

    LSTMs on top of each other; the hidden state of the last one asks the attention for a
    context, and both together give tanh(W [context; h]) (Luong, Pham & Manning 2015), which
    input feeding hands to the next step beside its token. Without attention it is W h, or h
    itself where logits have weights of their own.

    All steps of a target in one pass where nothing goes from step to step but the states of
    the LSTMs, else one after the other.

    Args:
        config: settings of the model.
    """

    def __init__(self, config: ModelConfig, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.config = config
        policy = self.dtype_policy
        self.lstms = [
            LSTM(
                config.units,
                outputs=("hidden_states", "hidden_state", "cell_state"),
                recurrent_dropout=config.recurrent_dropout,
                seed=drawn_seed(),
                name="lstm" if n == 0 else f"lstm_{n + 1}",
                dtype=policy,
            )
            for n in range(config.decoder_layers)
        ]
        self.attention = None
        if config.attention != "none":
            self.attention = Attention(config, name="attention", dtype=policy)
        self.combine = None
        if self.attention is not None or config.tied_embeddings != "none":
            self.combine = keras.layers.Dense(
                config.output_size, use_bias=False, name="combine", dtype=policy
            )
        self.dropout = dropout(config.dropout, policy)
        self.output_dropout = keras.layers.Dropout(config.dropout, seed=drawn_seed(), dtype=policy)
        self._step_by_step = config.input_feeding or config.coverage

    @property
    def output_size(self) -> int:
        """Size of the vectors that logits are made of."""
        return self.config.units if self.combine is None else self.config.output_size

    def build(self, input_shape: Any = None) -> None:
        """Make the weights; they depend on no shape of the input."""
        config = self.config
        features = config.embedding_size + config.input_feeding * self.output_size
        for lstm in self.lstms:
            lstm.build((None, None, features))
            features = config.units
        if self.attention is not None:
            self.attention.build()
        if self.combine is not None:
            both = 1 if self.attention is None else 2
            self.combine.build((None, None, both * config.units))
        self.built = True

    def begin(self, encoded: Encoded, states: States) -> tuple[Memory, State]:
        """What all steps look at, and what goes into the first."""
        memory = {"mask": encoded.mask}
        if self.attention is not None:
            memory = self.attention.memory(encoded)
        state: State = {"lstms": states}
        like = states[0][0][:, :1]
        if self.config.input_feeding:
            state["fed"] = ops.repeat(ops.zeros_like(like), self.output_size, axis=1)
        if self.config.coverage:
            state["coverage"] = ops.zeros_like(encoded.mask, dtype="float32")
        return memory, state

    def call(
        self,
        vectors: Array,
        mask: Array,
        memory: Memory,
        state: State,
        training: bool = False,
        positions: Array | None = None,
    ) -> Array:
        """What comes after each token: (B, L, F) to (B, L, output_size).

        With `positions` (N,) only after these of the B * L: (N, output_size).
        """
        if self._step_by_step:
            vectors = _some(self._steps(vectors, memory, state, training), positions)
        else:
            for n, lstm in enumerate(self.lstms):
                read = self.dropout(vectors, training=training)
                hidden_states, *_ = lstm(
                    read, initial_state=list(state["lstms"][n]), mask=mask, training=training
                )
                vectors = self._above(vectors, hidden_states)
            seen, _ = self._see(vectors, memory, None)
            vectors = self._combined(_some(seen, positions))
        return self.output_dropout(vectors, training=training)

    def step(
        self, vectors: Array, memory: Memory, state: State, weights: dict[str, Any] | None = None
    ) -> tuple[Array, State, Array]:
        """One step of N targets: (N, F) to (N, output_size), the next state, weights (N, T).

        Memory has B rows, and N is a multiple of B: the targets of a source follow each other.
        With `weights`, those of `step_weights`, no layer is called.
        """
        return self._advance(vectors, memory, state, None, weights)

    def step_weights(self) -> dict[str, Any]:
        """What a step reads most of, in the compute dtype."""
        names = ("kernel", "recurrent_kernel", "bias")
        every = [lstm.cell.weights_for_ops() for lstm in self.lstms]
        weights: dict[str, Any] = {"lstms": [{name: w[name] for name in names} for w in every]}
        if self.combine is not None:
            kernel = ops.convert_to_tensor(self.combine.kernel)
            weights["combine"] = ops.cast(kernel, self.compute_dtype)
        return weights

    def _advance(
        self,
        vectors: Array,
        memory: Memory,
        state: State,
        dropped: list[Array] | None,
        weights: dict[str, Any] | None = None,
    ) -> tuple[Array, State, Array]:
        if "fed" in state:
            vectors = ops.concatenate([vectors, state["fed"]], axis=-1)
        states = []
        for n, lstm in enumerate(self.lstms):
            read = vectors if dropped is None else vectors * dropped[n]
            before = state["lstms"][n]
            if weights is None:
                _, hidden_state, cell_state = lstm(read[:, None, :], initial_state=list(before))
            else:
                hidden_state, cell_state = ops_lstm(
                    read[:, None, :],
                    **weights["lstms"][n],
                    hidden_state=before[0],
                    cell_state=before[1],
                    outputs=("hidden_state", "cell_state"),
                )
            states.append((hidden_state, cell_state))
            vectors = self._above(vectors, hidden_state)
        sources = memory["mask"].shape[0]
        sources = ops.shape(memory["mask"])[0] if sources is None else sources
        by_source = ops.reshape(vectors, (sources, -1, vectors.shape[-1]))
        coverage = by_target = state.get("coverage")
        if coverage is not None:
            by_target = ops.reshape(coverage, (sources, -1, coverage.shape[-1]))
        seen, looked = self._see(by_source, memory, by_target, called=weights is None)
        combine = None if weights is None else weights.get("combine")
        vectors = self._combined(ops.reshape(seen, (-1, seen.shape[-1])), combine)
        looked = ops.reshape(looked, (-1, looked.shape[-1]))
        following: State = {"lstms": states}
        if "fed" in state:
            following["fed"] = vectors
        if coverage is not None:
            following["coverage"] = coverage + looked
        return vectors, following, looked

    def _above(self, below: Array, hidden_states: Array) -> Array:
        same_size = below.shape[-1] == hidden_states.shape[-1]
        return hidden_states + below if self.config.residual and same_size else hidden_states

    def _see(
        self,
        hidden_states: Array,
        memory: Memory,
        coverage: Array | None,
        *,
        called: bool = True,
    ) -> tuple[Array, Array]:
        """Hidden states beside their contexts; and weights (B, L, T), 0 without attention."""
        if self.attention is None:
            mask = ops.cast(memory["mask"], "float32")
            none = ops.zeros_like(hidden_states[..., :1], "float32") * mask[:, None, :]
            return hidden_states, none
        attend = self.attention if called else self.attention.call
        context, weights = attend(hidden_states, memory, coverage)
        return ops.concatenate([context, hidden_states], axis=-1), weights

    def _combined(self, seen: Array, kernel: Array | None = None) -> Array:
        if self.combine is None:
            return seen
        combined = self.combine(seen) if kernel is None else ops.matmul(seen, kernel)
        return combined if self.attention is None else ops.tanh(combined)

    def _steps(self, vectors: Array, memory: Memory, state: State, training: bool) -> Array:
        # Drawn before the loop: in it, a compiled framework could not keep the random state.
        dropped = None
        if training and self.config.dropout:
            width = vectors.shape[-1] + self.config.input_feeding * self.output_size
            widths = [width] + [self.config.units] * (len(self.lstms) - 1)
            one = ops.ones_like(vectors[:, :1, :1])
            dropped = [self.dropout(ops.repeat(one, w, axis=2), training=True) for w in widths]
            dropped = [each[:, 0] for each in dropped]
        first = ops.repeat(ops.zeros_like(vectors[:, 0, :1]), self.output_size, axis=1)
        # over_time returns the first array of the carry after each step; the others are flat.
        shape = (first, {**state, "fed": state.get("fed", first)})

        def step(carry: tuple[Array, ...], row: tuple[Array, ...]) -> tuple[Array, ...]:
            _, before = keras.tree.pack_sequence_as(shape, list(carry))
            fed = before.pop("fed")
            if self.config.input_feeding:
                before["fed"] = fed
            vector, after, _ = self._advance(row[0], memory, before, dropped)
            after.setdefault("fed", fed)
            return tuple(keras.tree.flatten((vector, after)))

        written, _ = over_time(step, tuple(keras.tree.flatten(shape)), (vectors,))
        return written


def _some(vectors: Array, positions: Array | None) -> Array:
    """(B, L, F) to (N, F), those at these of the B * L positions."""
    if positions is None:
        return vectors
    return ops.take(ops.reshape(vectors, (-1, vectors.shape[-1])), positions, axis=0)
