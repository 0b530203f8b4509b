"""Every setting of a translator and of its training; each default is here and nowhere else."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

from .._errors import lesson


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of a translator and of its training.

    The defaults are those that read the dates of `conveyor.seq2seq.dates`: 99.85 % to 100 % of
    4,000 held-out dates exactly (four seeds), in 80 to 110 seconds on two busy cores of a
    server, compilation included (JAX, portable engine). Peak learning rates of 0.012 and 0.02
    did as well.

    Raises:
        ConveyorError: a number out of its range, no limit to the training.

    >>> Config(units=256).to_dict()["units"]
    256
    """

    # The model
    embedding_size: int = 32  # of a source and of a target character
    units: int = 128  # of both LSTMs: the decoder begins with the states of the encoder
    max_target_length: int = 32  # characters, at which decoding gives up waiting for the end
    fold_source: bool = True  # ignore case, width and kind of space in sources

    # The data
    batch_size: int = 64  # pairs
    length_groups: int = 3  # a batch is padded to one of so many lengths; each is one compile
    seed: int = 0  # of the order of the pairs

    # The optimizer: Adam, warmed up linearly, then let down to zero along a cosine
    learning_rate: float = 0.016  # at its peak
    warmup: float = 0.1  # share of the training
    clip_norm: float = 1.0  # of the gradient of all weights together

    # The end: whichever comes first; the learning rate reaches zero there
    steps: int | None = 2_400  # batches
    max_seconds: float | None = None  # of wall time, compilation and evaluation included

    evaluate_every: int = 300  # batches

    def __post_init__(self) -> None:
        for field in fields(self):
            _check(field.name, str(field.type), getattr(self, field.name))
        if self.warmup >= 1:
            raise lesson(
                "Config",
                "warmup to be a share of the training, from 0 to below 1",
                f"warmup={self.warmup}",
                "Write warmup=0.1 for the first tenth.",
            )
        if self.steps is None and self.max_seconds is None:
            raise lesson(
                "Config",
                "a limit to the training",
                "steps=None and max_seconds=None",
                "Write steps=2400, max_seconds=120, or both: whichever comes first ends it.",
            )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Config:
        """The settings given, and the defaults for the others.

        Raises:
            ConveyorError: a key that is no setting; the message names the nearest one.

        >>> Config.from_dict({"unit": 256})
        Traceback (most recent call last):
        conveyor._errors.ConveyorError: Config expects settings that it knows; got 'unit'.
        Did you mean 'units'?
        """
        names = [field.name for field in fields(cls)]
        for key in values:
            if key not in names:
                near = difflib.get_close_matches(key, names, n=1)
                hint = f"Did you mean {near[0]!r}?" if near else f"Settings: {', '.join(names)}."
                raise lesson("Config", "settings that it knows", repr(key), hint)
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """All settings by name."""
        return asdict(self)


# What the annotations above stand for, in words and as types.
_KINDS: Final[dict[str, tuple[str, tuple[type, ...]]]] = {
    "bool": ("True or False", (bool,)),
    "int": ("a whole number", (int,)),
    "int | None": ("a whole number or None", (int, type(None))),
    "float": ("a number", (int, float)),
    "float | None": ("a number or None", (int, float, type(None))),
}
_MAY_BE_ZERO: Final = {"seed", "warmup"}


def _check(name: str, annotation: str, value: Any) -> None:
    kind, types = _KINDS[annotation]
    # To Python True is a number.
    fits = isinstance(value, types) and isinstance(value, bool) == (annotation == "bool")
    least = "from 0" if name in _MAY_BE_ZERO else "above 0"
    if fits and (annotation == "bool" or value is None or value > 0):
        return
    if fits and value == 0 and name in _MAY_BE_ZERO:
        return
    expected = kind if annotation == "bool" else f"{kind}, {least}"
    default = Config.__dataclass_fields__[name].default
    raise lesson(
        "Config",
        f"{name} to be {expected}",
        f"{name}={value!r}",
        f"Leave it out for the default: {name}={default!r}.",
    )
