"""How far a training is, beside its weights."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any

from ._best import Score
from ._history import Evaluated


@dataclass
class LoopState:
    """How far the loop is: with the variables, all that it needs to go on."""

    step: int = 0  # batches learned from
    pairs: int = 0  # in these
    target_tokens: int = 0
    seconds: float = 0.0  # of training
    position: tuple[int, int] = (0, 0)  # of the next batch in the data
    evaluated_at: int = 0  # step of the last evaluation
    evaluations_due: int = 0  # of `_EVALUATIONS`, by that step
    # Sums over the target tokens since that step: the loss, the cross entropy, and how many.
    loss: float = 0.0
    cross_entropy: float = 0.0
    tokens: int = 0
    best: list[tuple[Score, int]] = field(default_factory=list)
    history: list[Evaluated] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it; `from_dict` reads it back."""
        return {**asdict(self), "history": [entry.to_dict() for entry in self.history]}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> LoopState:
        """What `to_dict` described."""
        known = {name: values[name] for name in (f.name for f in fields(cls))}
        return cls(
            **{
                **known,
                "position": tuple(values["position"]),
                "best": [((score[0], score[1]), step) for score, step in values["best"]],
                "history": [Evaluated.from_dict(entry) for entry in values["history"]],
            }
        )
