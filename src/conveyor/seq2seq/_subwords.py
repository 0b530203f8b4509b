"""Subwords to ids and back, by sentencepiece (Kudo & Richardson 2018)."""

from __future__ import annotations

import base64
import functools
import io
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from .._errors import lesson
from ._characters import fold
from ._extras import sentencepiece
from ._tokens import (
    BEGIN,
    END,
    PADDING,
    REPLACEMENT,
    SPACE_MARK,
    UNKNOWN,
    unicode_text,
    until_end,
    visible,
)

# sentencepiece writes a space as ▁ (U+2581), so a ▁ of the text would come back as a space.
# It goes in as U+FDD0, which Unicode keeps free for programs; so that no text loses its own
# U+FDD0 in turn, U+FDD1 stands before one that is meant, and before itself.
_MARK: Final = "\ufdd0"
_ESCAPE: Final = "\ufdd1"
_ESCAPED: Final = str.maketrans(
    {SPACE_MARK: _MARK, _MARK: _ESCAPE + _MARK, _ESCAPE: _ESCAPE + _ESCAPE}
)
_TO_ESCAPE: Final = re.compile(f"[{SPACE_MARK}{_MARK}{_ESCAPE}]")
_TO_UNESCAPE: Final = re.compile(f"{_ESCAPE}([{_MARK}{_ESCAPE}])|{_MARK}")

# sentencepiece skips lines of more than 4192 bytes; no character has more than four.
_LEARNED_AT_ONCE: Final = 1_000


@dataclass(frozen=True)
class Subwords:
    """A vocabulary of frequent parts of words, as sentencepiece finds them.

    Nothing is normalised: a text comes back as it was. What no piece covers is written as the
    bytes of its UTF-8 where the vocabulary has them, else it is unknown.

    Args:
        model: what sentencepiece has learnt, as the bytes of its own file format.
        folded: whether texts are folded (see `fold`) before they are encoded.

    >>> subwords = Subwords.from_texts(["low lower lowest"] * 9, size=300)
    >>> subwords.pieces(subwords.encode("lowest"))
    ['▁lowest']
    >>> subwords.decode([*subwords.encode("  slow\\t☃"), 2, 0])
    '  slow\\t☃'
    """

    model: bytes = field(repr=False)
    folded: bool = False

    @classmethod
    def from_texts(
        cls,
        texts: Iterable[str],
        *,
        size: int,
        algorithm: Literal["bpe", "unigram"] = "bpe",
        byte_fallback: bool = True,
        folded: bool = False,
    ) -> Subwords:
        """Learn at most `size` subwords; the same texts give the same vocabulary.

        Args:
            texts: few are enough; what they don't show is written in characters and bytes.
            size: of the vocabulary. Small texts may not have as many subwords.
            algorithm: byte pair encoding (Sennrich et al. 2016) or the unigram language model
                (Kudo 2018).
            byte_fallback: give 256 ids to bytes, so that any text can be written.
            folded: fold texts first, now and before they are encoded.

        Raises:
            ConveyorError: a size that has no room for the characters and bytes.
        """
        model = io.BytesIO()
        try:
            sentencepiece().SentencePieceTrainer.train(
                sentence_iterator=_parts(texts, folded),
                model_writer=model,
                vocab_size=size,
                model_type=algorithm,
                byte_fallback=byte_fallback,
                # The rarest characters are left to the bytes, where there are bytes.
                character_coverage=0.9995 if byte_fallback else 1.0,
                pad_id=PADDING,
                bos_id=BEGIN,
                eos_id=END,
                unk_id=UNKNOWN,
                unk_surface=REPLACEMENT,
                hard_vocab_limit=False,  # fewer will do
                normalization_rule_name="identity",
                remove_extra_whitespaces=False,
                # The first word of a text is the one known from the middle of a sentence.
                add_dummy_prefix=True,
                num_threads=16,  # unigram's sums depend on it
                minloglevel=2,
            )
        except RuntimeError as error:
            least = re.search(r"smaller than required_chars. \d+ vs (\d+)", str(error))
            if not least:
                raise
            raise lesson(
                "learn_vocabularies",
                f"a vocabulary_size of at least {least[1]} for the characters of these texts"
                f"{' and 256 bytes' if byte_fallback else ''}",
                f"vocabulary_size={size}",
                f"Write TextConfig(vocabulary_size={max(8_000, 2 * int(least[1]))}).",
            ) from None
        return cls(model.getvalue(), folded)

    @property
    def size(self) -> int:
        """How many ids there are."""
        return int(self._processor.get_piece_size())

    def encode(self, text: str) -> list[int]:
        """The ids of the pieces that make up the text."""
        ids: list[int] = self._processor.encode(_escape(fold(text) if self.folded else text))
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """The text up to the first end; unknown, and broken UTF-8, is written as `\\ufffd`."""
        text: str = self._processor.decode(list(until_end(ids)))
        return _unescape(text)

    def pieces(self, ids: Iterable[int]) -> list[str]:
        """What each id stands for, to be shown; `▁` is a space, `<0x0A>` a byte."""
        every = self._pieces
        return [every[token] for token in ids]

    def to_dict(self) -> dict[str, Any]:
        """For the files of a model; `from_dict` reads it back."""
        model = base64.b64encode(self.model).decode("ascii")
        return {"kind": "subwords", "model": model, "folded": self.folded}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Subwords:
        """What `to_dict` wrote."""
        return cls(base64.b64decode(values["model"], validate=True), values["folded"])

    @functools.cached_property
    def _processor(self) -> Any:
        return sentencepiece().SentencePieceProcessor(model_proto=self.model)

    @functools.cached_property
    def _pieces(self) -> list[str]:
        processor = self._processor
        every = [processor.id_to_piece(token) for token in range(self.size)]
        return [visible(_unescape(piece)) for piece in every]

    def __getstate__(self) -> dict[str, Any]:
        return {"model": self.model, "folded": self.folded}


def _escape(text: str) -> str:
    if text.isascii():
        return text
    return _TO_ESCAPE.sub(lambda found: found[0].translate(_ESCAPED), unicode_text(text))


def _unescape(text: str) -> str:
    if text.isascii():
        return text
    return _TO_UNESCAPE.sub(lambda found: found[1] or SPACE_MARK, text)


def _parts(texts: Iterable[str], folded: bool) -> Iterator[str]:
    yield " "  # sentencepiece refuses to learn from nothing at all
    for text in texts:
        escaped = _escape(fold(text) if folded else text)
        for start in range(0, len(escaped), _LEARNED_AT_ONCE):
            yield escaped[start : start + _LEARNED_AT_ONCE]
