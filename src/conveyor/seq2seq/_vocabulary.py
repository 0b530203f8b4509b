"""What a model needs of a vocabulary."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from ._characters import Characters


class Vocabulary(Protocol):
    """Text to token ids and back."""

    @property
    def size(self) -> int:
        """How many ids there are."""

    def encode(self, text: str) -> list[int]:
        """The ids of a text, without begin and end."""

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids, up to the first end."""

    def pieces(self, ids: Iterable[int]) -> list[str]:
        """A text to show for each id."""

    def to_dict(self) -> dict[str, Any]:
        """What `vocabulary_from_dict` reads back."""


def vocabulary_from_dict(values: dict[str, Any]) -> Any:
    """The vocabulary that `to_dict` described."""
    return Characters(**values)
