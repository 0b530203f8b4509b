"""What a training tells while it runs, and who listens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from ._evaluation import Evaluation


class TrainedBatch(NamedTuple):
    """One batch, learned from. Losses are means over its target tokens."""

    step: int  # from 1
    epoch: float  # how often all pairs have been seen
    loss: float  # with label smoothing: what is minimised
    cross_entropy: float
    learning_rate: float
    target_tokens: int
    seconds: float  # of training so far
    progress: float  # of the training, from 0 to 1


class Sample(NamedTuple):
    """A dev pair, and what the model writes for it."""

    source: str
    target: str
    written: str


@dataclass(frozen=True)
class Evaluated:
    """One evaluation: what was learned since the one before, and the dev pairs."""

    step: int
    epoch: float
    seconds: float  # of training so far
    loss: float  # mean of the batches since the evaluation before
    perplexity: float  # of the same
    learning_rate: float
    dev: Evaluation | None  # None: there are no dev pairs
    best: bool  # better than all before
    samples: tuple[Sample, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it; `from_dict` reads it back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Evaluated:
        """What `to_dict` described."""
        dev = values["dev"]
        return cls(
            **{
                **values,
                "dev": None if dev is None else Evaluation(**dev),
                "samples": tuple(Sample(*sample) for sample in values["samples"]),
            }
        )


class Reporter:
    """Listens to a training. What it does not care for it leaves as it is here: nothing."""

    def began(self, facts: dict[str, Any]) -> None:
        """Before the first batch, also of a resumed training."""

    def trained(self, batch: TrainedBatch) -> None:
        """After each batch."""

    def evaluating(self) -> None:
        """Before an evaluation."""

    def evaluated(self, evaluated: Evaluated) -> None:
        """After an evaluation."""

    def notice(self, text: str) -> None:
        """Something that the user should know."""

    def ended(self, facts: dict[str, Any]) -> None:
        """After the last, unless an error ended it."""

    def close(self) -> None:
        """In the end, whatever happened."""


class Reporters(Reporter):
    """Several, as one."""

    def __init__(self, reporters: Sequence[Reporter]) -> None:
        self._all = list(reporters)

    def __iter__(self) -> Iterator[Reporter]:
        return iter(self._all)

    def began(self, facts: dict[str, Any]) -> None:
        """To each."""
        for reporter in self._all:
            reporter.began(facts)

    def trained(self, batch: TrainedBatch) -> None:
        """To each."""
        for reporter in self._all:
            reporter.trained(batch)

    def evaluating(self) -> None:
        """To each."""
        for reporter in self._all:
            reporter.evaluating()

    def evaluated(self, evaluated: Evaluated) -> None:
        """To each."""
        for reporter in self._all:
            reporter.evaluated(evaluated)

    def notice(self, text: str) -> None:
        """To each."""
        for reporter in self._all:
            reporter.notice(text)

    def ended(self, facts: dict[str, Any]) -> None:
        """To each."""
        for reporter in self._all:
            reporter.ended(facts)

    def close(self) -> None:
        """To each."""
        for reporter in self._all:
            reporter.close()
