"""The model: encoder, bridge and decoder between two vocabularies."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from .._errors import lesson
from ._arrays import Array, Memory, State
from ._bridge import Bridge
from ._config import Config
from ._decoder import Decoder
from ._encoder import Encoder, mask_of
from ._vocabulary import Vocabulary, vocabulary_from_dict


@keras.saving.register_keras_serializable(package="conveyor")
class Seq2Seq(keras.Model):
    """Source tokens (B, T) and target tokens (B, L) to logits (B, L, target.size).

    An encoder LSTM reads the source; a decoder LSTM, which begins with the encoder's last states
    and looks back at all of them through attention, writes the target, one token after the
    other (Sutskever, Vinyals & Le 2014; Bahdanau, Cho & Bengio 2015; Luong, Pham & Manning
    2015). A Keras model: compile it with `SparseCategoricalCrossentropy(from_logits=True,
    ignore_class=0)` and fit it, or let `conveyor.seq2seq.train` do that faster. A saved one
    (`model.save("model.keras")`) carries its vocabularies and settings with it.

    Args:
        source: vocabulary of the texts to read.
        target: vocabulary of the texts to write.
        config: `config.model` is the network; the rest is kept for those who use it.
        **kwargs: `name` and `dtype` ("mixed_bfloat16").

    Raises:
        ConveyorError: one embedding for both sides of two vocabularies.

    >>> import numpy as np
    >>> from conveyor.seq2seq import Characters, ModelConfig
    >>> sizes = ModelConfig(units=16, embedding_size=8, output_size=8)
    >>> letters = Characters("abc")
    >>> model = Seq2Seq(letters, letters, Config(model=sizes))
    >>> source, target = np.array([[4, 5, 0]]), np.array([[1, 6]])
    >>> tuple(model({"source": source, "target": target}).shape)
    (1, 2, 7)
    """

    def __init__(
        self, source: Vocabulary, target: Vocabulary, config: Config | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        config = Config() if config is None else config
        self.source = source
        self.target = target
        self.config = config
        settings, policy = config.model, self.dtype_policy
        self.encoder = Encoder(settings, name="encoder", dtype=policy)
        self.bridge = Bridge(settings, name="bridge", dtype=policy)
        self.decoder = Decoder(settings, name="decoder", dtype=policy)
        shared = settings.tied_embeddings == "all"
        if shared and _tokens(source) != _tokens(target):
            raise lesson(
                "Seq2Seq",
                "one vocabulary for both sides where both sides share their embedding",
                f"{source.size} source tokens and {target.size} target tokens",
                'Write ModelConfig(tied_embeddings="target").',
            )
        self.target_embedding = self._embedding(target.size, "target_embedding")
        self.source_embedding = (
            self.target_embedding if shared else self._embedding(source.size, "source_embedding")
        )
        self.to_logits = None
        if settings.tied_embeddings == "none":
            self.to_logits = keras.layers.Dense(target.size, name="to_logits", dtype=policy)
        self.build()

    def _embedding(self, size: int, name: str) -> keras.layers.Layer:
        features = self.config.model.embedding_size
        # Logits are products with it, where it is tied: of a size that a softmax can start with.
        initializer = keras.initializers.RandomNormal(stddev=features**-0.5)
        return keras.layers.Embedding(
            size, features, embeddings_initializer=initializer, name=name, dtype=self.dtype_policy
        )

    def build(self, input_shape: Any = None) -> None:
        """Make the weights; they depend on no shape of the input."""
        settings = self.config.model
        self.target_embedding.build((None, None))
        if self.source_embedding is not self.target_embedding:
            self.source_embedding.build((None, None))
        self.encoder.build((None, None, settings.embedding_size))
        self.bridge.build()
        self.decoder.build()
        if self.to_logits is not None:
            self.to_logits.build((None, None, self.decoder.output_size))
        else:
            self.logit_bias = self.add_weight(
                shape=(self.target.size,), initializer="zeros", name="logit_bias"
            )
        self.built = True

    def call(self, inputs: dict[str, Array], training: bool = False) -> Array:
        """Logits (B, L, V) of the token after each of `inputs["target"]` (B, L)."""
        both = {"source": inputs["source"], "target": inputs["target"]}
        return self.logits(self.vectors(both, training=training))

    def vectors(self, inputs: dict[str, Array], training: bool = False) -> Array:
        """The same up to the vectors (B, L, output_size) that logits are made of.

        With `inputs["positions"]` (N,), which of the B * L steps count, only those: (N,
        output_size).
        """
        memory, state = self.begin(inputs["source"], training=training)
        target = inputs["target"]
        embedded = self.target_embedding(target)
        return self.decoder(
            embedded,
            mask_of(target),
            memory,
            state,
            training=training,
            positions=inputs.get("positions"),
        )

    def logits(self, vectors: Array) -> Array:
        """Logits (..., V) of vectors (..., output_size), in float32."""
        if self.to_logits is not None:
            return ops.cast(self.to_logits(vectors), "float32")
        kernel, bias = self.output_weights()
        kernel = ops.cast(kernel, vectors.dtype)
        products = ops.matmul(vectors, ops.transpose(kernel))
        return ops.cast(products, "float32") + ops.cast(bias, "float32")

    def output_weights(self) -> tuple[Array, Array]:
        """Kernel (V, output_size) and bias (V,) of the logits."""
        if self.to_logits is not None:
            return ops.transpose(self.to_logits.kernel), self.to_logits.bias
        return ops.convert_to_tensor(self.target_embedding.embeddings), ops.convert_to_tensor(
            self.logit_bias
        )

    def begin(self, source: Array, training: bool = False) -> tuple[Memory, State]:
        """Reads sources (B, T): what all steps look at, and what goes into the first.

        Every array of both begins with the axis of the sources.
        """
        encoded = self.encoder(self.source_embedding(source), mask_of(source), training=training)
        return self.decoder.begin(encoded, self.bridge(encoded.states))

    def step(self, tokens: Array, memory: Memory, state: State) -> tuple[Array, State, Array]:
        """One step of N targets of B sources, K each, those of a source next to each other.

        Args:
            tokens: (N,), what was written last.
            memory: of `begin`, B rows.
            state: of `begin`, each row repeated K times, or of the step before.

        Returns:
            Logits (N, V) in float32, the next state, weights of the attention (N, T), zeros
            where the model has none.
        """
        vectors, state, weights = self.step_vectors(tokens, memory, state)
        return self.logits(vectors), state, weights

    def step_vectors(
        self, tokens: Array, memory: Memory, state: State
    ) -> tuple[Array, State, Array]:
        """The same with the vectors (N, output_size) that logits are made of."""
        return self.decoder.step(self.target_embedding(tokens), memory, state)

    def get_config(self) -> dict[str, Any]:
        """What `from_config` and a saved file need: vocabularies and settings."""
        return {
            **super().get_config(),
            "source": self.source.to_dict(),
            "target": self.target.to_dict(),
            "config": self.config.to_dict(),
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Seq2Seq:
        """The model that `get_config` describes, untrained."""
        return cls(
            **{
                **config,
                "source": vocabulary_from_dict(config["source"]),
                "target": vocabulary_from_dict(config["target"]),
                "config": Config.from_dict(config["config"]),
            }
        )


def _tokens(vocabulary: Vocabulary) -> dict[str, Any]:
    """What its ids stand for; one that folds what it reads may share them."""
    return {**vocabulary.to_dict(), "folded": None}
