"""Every setting of a translator and of its training; each default is here and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from .._errors import lesson
from ._extras import yaml
from ._settings import Section, from_dict, from_zero, parse, share

__all__ = [
    "Config",
    "DataConfig",
    "ModelConfig",
    "SearchConfig",
    "TextConfig",
    "TrainingConfig",
]


@dataclass(frozen=True, kw_only=True)
class ModelConfig(Section):
    """The network: encoder, bridge, attention, decoder."""

    embedding_size: int = 256  # of a source and of a target token
    units: int = 512  # of each decoder layer, and of each encoder layer: both directions together
    encoder_layers: int = 1
    decoder_layers: int = 1
    bidirectional: bool = True  # the encoder; each direction then has half of the units
    residual: bool = True  # from layer to layer, where there are several
    # What the decoder begins with: the encoder's last states as they are, through a layer of
    # its own, or zeros.
    bridge: Literal["last", "projected", "zero"] = "projected"
    # Luong et al. 2015: dot, general, concat; Bahdanau et al. 2015: additive.
    attention: Literal["none", "dot", "general", "concat", "additive"] = "general"
    attention_size: int = 512  # of additive and concat attention
    coverage: bool = False  # attention knows where it has been (Tu et al. 2016)
    input_feeding: bool = False  # the step before, attention included, is input to the next
    output_size: int = 256  # of the vector that logits are made from
    tied_embeddings: Literal["none", "target", "all"] = "all"  # logits from the embedding itself
    dropout: float = share(0.2)  # of all that is not recurrent
    recurrent_dropout: float = share(0.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bidirectional and self.units % 2:
            raise lesson(
                "Config",
                "an even number of units, as each direction of the encoder has half of them",
                f"model.units={self.units}",
                f"Write ModelConfig(units={self.units + 1}), or bidirectional=False.",
            )
        if self.coverage and self.attention == "none":
            raise lesson(
                "Config",
                "an attention for coverage to steer",
                'attention="none", coverage=True',
                'Write ModelConfig(attention="additive", coverage=True).',
            )
        if self.input_feeding and self.attention == "none":
            raise lesson(
                "Config",
                "an attention whose outcome input feeding hands on",
                'attention="none", input_feeding=True',
                'Write ModelConfig(attention="general", input_feeding=True).',
            )
        if self.recurrent_dropout and (self.input_feeding or self.coverage):
            raise lesson(
                "Config",
                "no recurrent_dropout where the decoder goes step by step",
                f"recurrent_dropout={self.recurrent_dropout}, input_feeding={self.input_feeding}, "
                f"coverage={self.coverage}",
                "Write ModelConfig(dropout=0.2, input_feeding=True): dropout is drawn once a "
                "sequence there, too.",
            )
        if self.tied_embeddings != "none" and self.output_size != self.embedding_size:
            raise lesson(
                "Config",
                "output_size equal to embedding_size where the embedding makes the logits",
                f"model.output_size={self.output_size}, model.embedding_size={self.embedding_size}",
                f'Write ModelConfig(output_size={self.embedding_size}), or tied_embeddings="none".',
            )


@dataclass(frozen=True, kw_only=True)
class TextConfig(Section):
    """How texts become tokens."""

    tokens: Literal["subwords", "characters", "words"] = "subwords"
    algorithm: Literal["bpe", "unigram"] = "bpe"  # of subwords
    vocabulary_size: int = 8_000  # at most; of words and subwords
    shared: bool = True  # one vocabulary for both sides
    fold_source: bool = False  # read without case, width and kind of space
    byte_fallback: bool = True  # characters that no subword covers are written as bytes


@dataclass(frozen=True, kw_only=True)
class DataConfig(Section):
    """Which pairs are learned from, and in which batches."""

    bad_lines: Literal["skip", "refuse"] = "skip"  # either way they are counted and shown
    max_source_tokens: int = 100  # longer pairs are left out of the training
    max_target_tokens: int = 100
    # Target tokens, without padding. None: 1,500, of a small corpus fewer, so that an epoch has
    # two hundred batches; at least 300.
    batch_tokens: int | None = None
    length_buckets: int = 8  # lengths that batches are padded to where the backend compiles
    history: int = from_zero(2)  # turns before the prompt, in a dialogue
    mix_dialogues: bool = True  # learn first turns behind the last ones of other dialogues, too
    seed: int = from_zero(0)  # of the order of the pairs


@dataclass(frozen=True, kw_only=True)
class TrainingConfig(Section):
    """The optimizer, its schedule, and when to look and to stop."""

    optimizer: Literal["adam", "adamw"] = "adam"
    learning_rate: float = 2e-3  # at its peak
    warmup: float = share(0.03)  # share of the training
    decay: Literal["cosine", "linear", "inverse_sqrt", "none"] = "cosine"  # after the warm-up
    beta_1: float = share(0.9)
    beta_2: float = share(0.99)
    weight_decay: float = from_zero(0.0)  # of adamw
    clip_norm: float = 1.0  # of the gradient of all weights together
    accumulate: int = 1  # batches to one step of the optimizer
    label_smoothing: float = share(0.1)
    scheduled_sampling: float = from_zero(0.0)  # at the end; from 0
    # Of products; weights and sums are float32. auto: whichever this processor multiplies faster.
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    moving_average: float = share(0.0)  # momentum of averaged weights

    # The end: whichever comes first; the learning rate reaches its last value there
    epochs: float | None = 20.0
    steps: int | None = None  # batches
    max_minutes: float | None = None  # of training; evaluation does not count

    evaluate_every: int | None = None  # batches; None: about twenty times in all
    judge_by: Literal["bleu", "chrf", "perplexity", "exact_match"] = "bleu"  # on the dev pairs
    patience: int | None = None  # evaluations without a better one, then stop; None: never
    keep_best: int = 3  # models; these are averaged where average_best
    average_best: bool = False
    dev_sentences: int = 200  # to translate at an evaluation; perplexity is of all dev pairs
    checkpoint_minutes: float = 1.0  # between two checkpoints
    seed: int = from_zero(0)  # of weights and dropout

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.epochs is None and self.steps is None and self.max_minutes is None:
            raise lesson(
                "Config",
                "an end of the training",
                "epochs=None, steps=None and max_minutes=None",
                "Write epochs=20, steps=2400, max_minutes=10, or several: "
                "the first to come ends it.",
            )


@dataclass(frozen=True, kw_only=True)
class SearchConfig(Section):
    """How a translation is found."""

    beam: int = 5  # 1 is greedy
    length_penalty: float = from_zero(1.0)  # alpha of Wu et al. 2016
    no_repeat_ngram: int = from_zero(0)  # 0: may repeat
    sample: bool = False  # draw tokens instead of taking the likeliest
    temperature: float = 1.0  # of samples
    top_p: float = 1.0  # samples come from the likeliest tokens of so much probability
    max_length_ratio: float = 2.0  # target tokens to source tokens ...
    max_length_extra: int = 20  # ... and so many more, at which a translation is cut off
    batch_tokens: int = 16_000  # source tokens translated together, padding included
    seed: int = from_zero(0)  # of samples


# A chatbot repeats what it was taught, so nothing keeps it from learning that by heart, and how
# long an answer is does not depend on the prompt.
_OF_DIALOGUES: Final = {
    "model.dropout": 0.0,
    "training.label_smoothing": 0.0,
    "search.max_length_extra": 100,
}


@dataclass(frozen=True, kw_only=True)
class Config:
    """All settings of a translator, by topic.

    Raises:
        ConveyorError: a setting that does not exist or has a value that cannot be meant.

    >>> config = Config(model=ModelConfig(units=256))
    >>> config.to_dict()["model"]["units"]
    256
    >>> config.with_settings({"training.epochs": "10"}).training.epochs
    10.0
    """

    model: ModelConfig = field(default_factory=ModelConfig)
    text: TextConfig = field(default_factory=TextConfig)
    data: DataConfig = field(default_factory=DataConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    search: SearchConfig = field(default_factory=SearchConfig)

    def __post_init__(self) -> None:
        if self.model.tied_embeddings == "all" and not self.text.shared:
            raise lesson(
                "Config",
                "one vocabulary for both sides where both sides share their embedding",
                'model.tied_embeddings="all", text.shared=False',
                'Write model.tied_embeddings="target", or text.shared=True.',
            )

    @classmethod
    def for_dialogues(cls) -> Config:
        """The defaults of a chatbot: what it was taught it may learn by heart.

        >>> Config.for_dialogues().model.dropout
        0.0
        """
        return cls().with_settings(_OF_DIALOGUES)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], others: Config | None = None) -> Config:
        """The settings given; all that they do not mention is as in `others`, or the default.

        >>> Config.from_dict({"model": {"unit": 256}})
        Traceback (most recent call last):
        conveyor._errors.ConveyorError: Config expects settings that it knows; got 'model.unit'.
        Did you mean 'model.units'?
        """
        if others is None or not isinstance(values, Mapping):
            return from_dict(cls, values)
        merged = others.to_dict()
        for topic, some in values.items():
            both = isinstance(some, Mapping) and topic in merged
            merged[topic] = {**merged[topic], **some} if both else some
        return from_dict(cls, merged)

    def to_dict(self) -> dict[str, Any]:
        """All settings: topic, name, value."""
        return asdict(self)

    @classmethod
    def from_yaml(cls, path: str | Path, others: Config | None = None) -> Config:
        """Settings of a file; what it does not mention is as in `others`, or has its default.

        Raises:
            ConveyorError: a file that is no YAML of settings.
        """
        try:
            values = yaml().safe_load(Path(path).read_text(encoding="utf-8"))
        except (yaml().YAMLError, UnicodeDecodeError) as error:
            raise lesson(
                "Config.from_yaml", "YAML", f"{path}: {error}", "Write training:\n  epochs: 10"
            ) from None
        return cls.from_dict({} if values is None else values, others)

    def as_yaml(self) -> str:
        """Every setting, defaults included, as text."""
        return str(yaml().safe_dump(self.to_dict(), sort_keys=False, allow_unicode=True))

    def to_yaml(self, path: str | Path) -> None:
        """Write `as_yaml` to a file; `from_yaml` reads it back."""
        Path(path).write_text(self.as_yaml(), encoding="utf-8")

    def with_settings(self, settings: Mapping[str, Any]) -> Config:
        """Some settings changed: `{"training.epochs": "10"}`, values as text or as they are.

        >>> Config().with_settings({"model.attention": "dot"}).model.attention
        'dot'
        """
        values = self.to_dict()
        for path, value in settings.items():
            topic, _, name = path.partition(".")
            if name and isinstance(values.get(topic), dict):
                values[topic][name] = parse(type(getattr(self, topic)), name, value)
            else:
                values[path] = value  # which from_dict refuses, with a hint
        return self.from_dict(values)
