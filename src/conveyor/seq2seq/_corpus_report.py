"""What was read of a corpus, what was not, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from .._errors import ConveyorError, lesson

_PLACES: Final = 5  # shown of each kind


@dataclass
class Problem:
    """One kind of what could not be used: how often, and where first."""

    count: int = 0
    places: list[str] = field(default_factory=list)  # "pairs.tsv:17"

    def add(self, place: str) -> None:
        """One more."""
        self.count += 1
        if len(self.places) < _PLACES:
            self.places.append(place)

    def __str__(self) -> str:
        more = ", ..." if self.count > len(self.places) else ""
        return f"{self.count:,} ({', '.join(self.places)}{more})"


@dataclass
class CorpusReport:
    """How many pairs a corpus gave, and by kind what was left out.

    Args:
        pairs: that can be used.
        problems: by kind, `"not UTF-8"`, what could not.
        refuse: whether the first problem is an error.

    >>> report = CorpusReport(pairs=7)
    >>> report.add("an empty side", "pairs.tsv:4")
    >>> print(report)
    7 pairs; left out: an empty side: 1 (pairs.tsv:4)
    """

    pairs: int = 0
    problems: dict[str, Problem] = field(default_factory=dict)
    refuse: bool = False

    @property
    def left_out(self) -> int:
        """How many lines, dialogues or pairs could not be used."""
        return sum(problem.count for problem in self.problems.values())

    def add(self, kind: str, place: str, details: str = "") -> None:
        """One more that cannot be used.

        Raises:
            ConveyorError: where that was asked for.
        """
        if self.refuse:
            raise lesson(
                "The corpus",
                "pairs of texts without problems",
                f"{kind} at {place}{details and f': {details}'}",
                'Mend it, or write DataConfig(bad_lines="skip") to leave such lines out.',
            )
        self.problems.setdefault(kind, Problem()).add(place)

    def nothing(self, name: str) -> ConveyorError:
        """What to raise where no pair is left."""
        why = f"none left ({'; '.join(self._lines())})" if self.problems else "none"
        return lesson(
            "The corpus",
            "pairs of texts to learn from",
            f"{why} in {name}",
            "Write one pair a line, source and target separated by one tab, in UTF-8, "
            "or see docs/text.md for other formats.",
        )

    def copy(self) -> CorpusReport:
        """The same, to be added to."""
        return CorpusReport.from_dict(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """What JSON can hold."""
        problems = {kind: [p.count, list(p.places)] for kind, p in self.problems.items()}
        return {"pairs": self.pairs, "problems": problems}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> CorpusReport:
        """What `to_dict` gave."""
        problems = values["problems"].items()
        return cls(values["pairs"], {kind: Problem(n, list(at)) for kind, (n, at) in problems})

    def __str__(self) -> str:
        left_out = f"; left out: {'; '.join(self._lines())}" if self.problems else ""
        return f"{self.pairs:,} pairs{left_out}"

    def _lines(self) -> list[str]:
        return [f"{kind}: {problem}" for kind, problem in self.problems.items()]
