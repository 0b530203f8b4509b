"""The translator: a Keras model that learns from pairs of texts, and translates."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import Any

import keras

from .._errors import lesson
from ._batches import pad
from ._characters import Characters
from ._config import Config
from ._decoder import Decoder
from ._encoder import Array, Encoder
from ._pairs import Pair
from ._search import GreedySearch

# Sources are padded to a multiple of this many characters, and batches to a power of two, so
# that a compiled backend compiles a few shapes and not one for every batch.
_LENGTH_STEP = 16


@keras.saving.register_keras_serializable(package="conveyor")
class Translator(keras.Model):
    """Text to text: an encoder LSTM hands its two final states to a decoder LSTM.

    All that the decoder learns of the source is that pair of states (Sutskever, Vinyals & Le
    2014, doi:10.48550/arXiv.1409.3215). As a Keras model it maps source tokens (B, T) and
    target tokens (B, L) to logits (B, L, target.size); `translate` maps texts to texts. A saved
    model (`translator.save("dates.keras")`) carries its vocabularies and settings with it.

    Args:
        source: vocabulary of the texts to read.
        target: vocabulary of the texts to write.
        config: its settings of the model; those of the training are for `train`.

    >>> config = Config(units=16, embedding_size=8)
    >>> translator = Translator(Characters("mars "), Characters("-0123456789"), config)
    >>> tuple(translator({"source": pad([[4, 5]]), "target": pad([[1, 6, 4]])}).shape)
    (1, 3, 15)
    """

    def __init__(
        self, source: Characters, target: Characters, config: Config, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.source = source
        self.target = target
        self.config = config
        sizes = (config.embedding_size, config.units)
        self.encoder = Encoder(source.size, *sizes, name="encoder")
        self.decoder = Decoder(target.size, *sizes, name="decoder")
        self.build()

    @classmethod
    def for_pairs(cls, pairs: Sequence[Pair], config: Config | None = None) -> Translator:
        """An untrained translator that knows the characters of these pairs."""
        config = Config() if config is None else config
        source = Characters.from_texts((p.source for p in pairs), folded=config.fold_source)
        return cls(source, Characters.from_texts(p.target for p in pairs), config)

    def build(self, input_shape: Any = None) -> None:
        """Make the weights; they depend on no shape of the input."""
        self.encoder.build((None, None))
        self.decoder.build((None, None))
        self.built = True

    def call(self, inputs: dict[str, Array]) -> Array:
        """Logits (B, L, target.size) of the token after each of `inputs["target"]` (B, L)."""
        logits, _ = self.decoder(inputs["target"], self.encoder(inputs["source"]))
        return logits

    def translate(self, texts: Iterable[str], *, batch_size: int = 256) -> list[str]:
        """The translation of each text, in the same order.

        Args:
            texts: several of them, of any length. Characters that the translator has never
                met are read as one unknown character.
            batch_size: how many to translate at a time.

        Raises:
            ConveyorError: one text that is not in a list.
        """
        if isinstance(texts, str):
            raise lesson(
                "translate", "several texts", f"one: {texts!r}", f"Write translate([{texts!r}])."
            )
        sources = [self.source.encode(text) for text in texts]
        by_length = sorted(range(len(sources)), key=lambda i: len(sources[i]))
        translations = [""] * len(sources)
        for start in range(0, len(sources), batch_size):
            chosen = by_length[start : start + batch_size]
            written = self._search([sources[i] for i in chosen])
            for i, tokens in zip(chosen, written, strict=True):
                translations[i] = self.target.decode(tokens)
        return translations

    def _search(self, sources: list[list[int]]) -> list[list[int]]:
        rows = 1 << (len(sources) - 1).bit_length()
        longest = max(1, *map(len, sources))
        length = -(-longest // _LENGTH_STEP) * _LENGTH_STEP
        padded = pad([*sources, *[[]] * (rows - len(sources))], length)
        tokens: list[list[int]] = self._greedy.predict_on_batch(padded).tolist()
        return tokens[: len(sources)]

    # Cached and not an attribute: Keras would save it as one more layer.
    @functools.cached_property
    def _greedy(self) -> GreedySearch:
        return GreedySearch(self.encoder, self.decoder, self.config.max_target_length)

    def get_config(self) -> dict[str, Any]:
        """What `from_config` and a saved file need: vocabularies and settings."""
        return {
            **super().get_config(),
            "source": self.source.to_dict(),
            "target": self.target.to_dict(),
            "config": self.config.to_dict(),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Translator:
        """The translator that `get_config` describes, untrained."""
        return cls(
            **{
                **config,
                "source": Characters(**config["source"]),
                "target": Characters(**config["target"]),
                "config": Config.from_dict(config["config"]),
            }
        )
