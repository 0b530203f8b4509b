"""The translator: texts to texts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final, Literal, TypedDict, Unpack, overload

from .._errors import lesson
from ._config import Config, SearchConfig
from ._hypothesis import Floats, Hypothesis
from ._load import load_model
from ._model import Seq2Seq
from ._pairs import Pair
from ._scores import PairScore, token_log_probabilities
from ._search import check, search
from ._streaming import growing_text, tokens_of

_WINDOW: Final = 1024  # texts that are sorted by length together, where more stream through


class SearchSettings(TypedDict, total=False):
    """What `SearchConfig` has, for one call; None is what the model was trained with."""

    beam: int | None
    length_penalty: float | None
    no_repeat_ngram: int | None
    sample: bool | None
    temperature: float | None
    top_p: float | None
    max_length_ratio: float | None
    max_length_extra: int | None
    batch_tokens: int | None
    seed: int | None


@dataclass(frozen=True, eq=False)
class Translation:
    """A text that was written for a text.

    Attributes:
        text: what was written.
        score: what translations are ranked by: `log_probability` over the length penalty.
        log_probability: of the text, given the source.
        finished: False where it was cut off at the maximum length.
        tokens: what was written, token by token, to be shown.
        source: what was read, token by token.
        attention: (tokens + 1, source), where each token, and the end, looked at; None where
            it was not asked for, or the model has no attention.
    """

    text: str
    score: float
    log_probability: float
    finished: bool
    tokens: list[str]
    source: list[str]
    attention: Floats | None = None


class Translator:
    """Texts to texts, by a trained model or by several of the same vocabularies.

    Any text has an answer: an empty one, or one of spaces, is translated by an empty one;
    characters that the vocabulary does not know are read as unknown; a target that does not end
    is cut off at `max_length_ratio` times the tokens of the source, and `max_length_extra`.

    Args:
        models: of several, the probabilities are averaged.

    Raises:
        ConveyorError: models of different vocabularies.

    >>> from conveyor.seq2seq import Characters, ModelConfig
    >>> letters = Characters("abc")
    >>> sizes = ModelConfig(units=8, embedding_size=8, output_size=8)
    >>> translator = Translator(Seq2Seq(letters, letters, Config(model=sizes)))
    >>> len(translator(["abc", "", "cab"]))
    3
    >>> (best, second), = translator.translate(["abc"], beam=4, n_best=2, return_attention=True)
    >>> best.score >= second.score, best.attention.shape == (len(best.tokens) + best.finished, 3)
    (True, True)
    """

    def __init__(self, models: Seq2Seq | Sequence[Seq2Seq]) -> None:
        self.models = (models,) if isinstance(models, Seq2Seq) else tuple(models)
        if not self.models or not all(isinstance(model, Seq2Seq) for model in self.models):
            given = ", ".join(type(model).__name__ for model in self.models) or "none"
            raise lesson(
                "Translator",
                "a Seq2Seq, or several",
                given,
                'Write Translator.load("model/"), or Translator(model).',
            )
        self.source = self.models[0].source
        self.target = self.models[0].target
        self._check_vocabularies()

    @classmethod
    def load(cls, *paths: str | Path) -> Translator:
        """The translator in a folder that `conveyor train` made, or in a `.keras` file.

        Args:
            *paths: several are an ensemble.

        Raises:
            ConveyorError: there is no model, or half a one; models of different vocabularies.
        """
        if not paths:
            raise lesson("Translator.load", "a folder, or several", "none", 'Write load("model/").')
        return cls([load_model(path) for path in paths])

    @property
    def config(self) -> Config:
        """The settings of the first model."""
        config: Config = self.models[0].config
        return config

    def __call__(self, texts: Iterable[str]) -> list[str]:
        """The translation of each text, in the same order."""
        return self.translate(texts)

    @overload
    def translate(
        self,
        texts: Iterable[str],
        *,
        n_best: None = None,
        return_attention: Literal[False] = False,
        **settings: Unpack[SearchSettings],
    ) -> list[str]: ...

    @overload
    def translate(
        self,
        texts: Iterable[str],
        *,
        n_best: int | None = None,
        return_attention: bool = False,
        **settings: Unpack[SearchSettings],
    ) -> list[str] | list[list[Translation]]: ...

    def translate(
        self,
        texts: Iterable[str],
        *,
        n_best: int | None = None,
        return_attention: bool = False,
        **settings: Unpack[SearchSettings],
    ) -> list[str] | list[list[Translation]]:
        """The translation of each text, in the same order.

        Args:
            texts: several of them, of any length.
            n_best: so many translations of each, best first, with their scores; fewer where a
                beam search finds fewer.
            return_attention: translations with their attention.
            **settings: of the search, where they are to differ from the model's `config.search`:
                `beam` (1 is greedy), `length_penalty`, `no_repeat_ngram`, `sample`,
                `temperature`, `top_p`, `seed`, `max_length_ratio`, `max_length_extra`,
                `batch_tokens`.

        Returns:
            A text for each text; with `n_best` or `return_attention` a list of `Translation`
            for each.

        Raises:
            ConveyorError: one text that is not in a list; what is no text; settings that don't
                exist or don't fit together.
        """
        found = self._translate(
            _texts(texts), 1 if n_best is None else n_best, return_attention, settings
        )
        if n_best is None and not return_attention:
            return [best.text for best, *_ in found]
        return found

    def translate_lines(
        self,
        lines: Iterable[str],
        *,
        n_best: int = 1,
        return_attention: bool = False,
        **settings: Unpack[SearchSettings],
    ) -> Iterator[list[Translation]]:
        """The translations of each line of a stream of any length, in order.

        A thousand lines at a time are read and translated. The rest is as of `translate`.
        """
        texts = _texts(lines)
        self._check(n_best, settings)  # now, and not at the first line
        windows = iter(lambda: list(islice(texts, _WINDOW)), [])
        return (
            translations
            for number, window in enumerate(windows)
            for translations in self._translate(
                window, n_best, return_attention, settings, number * _WINDOW
            )
        )

    def stream(self, text: str, **settings: Unpack[SearchSettings]) -> Iterator[str]:
        """The translation of a text piece by piece, as it is written.

        The likeliest token at each step, or with `sample=True` one that is drawn: both are
        known at once, and those of several beams are not. Never half a character.

        Raises:
            ConveyorError: what is no text.
        """
        (text,) = _texts([text], "stream", 'Write translator.stream("a text").')
        config = self._check(1, {**settings, "beam": 1})
        source = self._encode(text)
        return growing_text(self.target.decode, tokens_of(self.models, source, config))

    def score(
        self, pairs: Iterable[Pair | tuple[str, str]], *, batch_tokens: int | None = None
    ) -> list[PairScore]:
        """How likely each target is, given its source: the model's log probabilities.

        An empty source has an empty target for certain, as in `translate`.

        Args:
            pairs: source and target.
            batch_tokens: as of `translate`.

        Raises:
            ConveyorError: what is no pair of texts.

        >>> from conveyor.seq2seq import Characters, ModelConfig
        >>> letters = Characters("abc")
        >>> sizes = ModelConfig(units=8, embedding_size=8, output_size=8)
        >>> translator = Translator(Seq2Seq(letters, letters, Config(model=sizes)))
        >>> found, = translator.score([("abc", "cab")])
        >>> found.tokens, len(found.token_log_probabilities)
        (['c', 'a', 'b'], 4)
        """
        config = self._check(1, {"batch_tokens": batch_tokens, "beam": 1})
        scores: list[PairScore] = []
        every = iter(_pairs(pairs))
        while window := list(islice(every, _WINDOW)):
            sources = [self._encode(source) for source, _ in window]
            targets = [self.target.encode(target) for _, target in window]
            found = token_log_probabilities(self.models, sources, targets, config.batch_tokens)
            for target, logs in zip(targets, found, strict=True):
                scores.append(PairScore(sum(logs), logs, self.target.pieces(target)))
        return scores

    def _translate(
        self,
        texts: Iterable[str],
        n_best: int,
        return_attention: bool,
        settings: SearchSettings,
        number_from: int = 0,
    ) -> list[list[Translation]]:
        config = self._check(n_best, settings)
        sources = [self._encode(text) for text in texts]
        found = search(
            self.models,
            sources,
            config,
            n_best=n_best,
            return_attention=return_attention,
            number_from=number_from,
        )
        read = [self.source.pieces(source) for source in sources]
        return [
            [self._translation(hypothesis, pieces) for hypothesis in hypotheses]
            for hypotheses, pieces in zip(found, read, strict=True)
        ]

    def _translation(self, found: Hypothesis, source: list[str]) -> Translation:
        return Translation(
            self.target.decode(found.tokens),
            found.score,
            found.log_probability,
            found.finished,
            self.target.pieces(found.tokens),
            source,
            found.attention,
        )

    def _encode(self, text: str) -> list[int]:
        return self.source.encode(text) if text.strip() else []

    def _check(self, n_best: int, settings: Any) -> SearchConfig:
        given = {f"search.{name}": value for name, value in settings.items() if value is not None}
        config = self.config.with_settings(given).search
        check(config, n_best)
        return config

    def _check_vocabularies(self) -> None:
        for side in ("source", "target"):
            first = getattr(self, side).to_dict()
            for number, model in enumerate(self.models[1:], 2):
                other = getattr(model, side)
                if other.to_dict() != first:
                    raise lesson(
                        "Translator",
                        f"models of the same {side} vocabulary",
                        f"one of {getattr(self, side).size} tokens and, as number {number}, "
                        f"another of {other.size}",
                        "Train the models of an ensemble on the same pairs, with another "
                        "training.seed.",
                    )


def _texts(
    texts: Iterable[str],
    where: str = "translate",
    write: str = 'Write translate(["a text", "another"]).',
) -> Iterator[str]:
    """The same, refused where it is no text."""
    if isinstance(texts, str):
        raise lesson(
            where, "several texts", f"one: {texts!r:.60}", f"Write {where}([{texts!r:.60}])."
        )
    if not isinstance(texts, Iterable) or isinstance(texts, bytes):
        raise lesson(where, "texts", f"{texts!r:.60}", write)
    return (_text(text, n, where, write) for n, text in enumerate(texts))


def _text(text: Any, number: int, where: str, write: str) -> str:
    if not isinstance(text, str):
        raise lesson(where, "texts", f"{text!r:.60} as number {number}", write)
    return text


def _pairs(pairs: Iterable[Any]) -> Iterator[tuple[str, str]]:
    for number, pair in enumerate(pairs):
        is_pair = isinstance(pair, (tuple, list)) and len(pair) >= 2
        if not is_pair or not all(isinstance(side, str) for side in pair[:2]):
            raise lesson(
                "score",
                "pairs of a source and a target",
                f"{pair!r:.60} as number {number}",
                'Write score([("a source", "a target")]).',
            )
        yield pair[0], pair[1]
