"""What stands along the time axis of a trace: the user's tokens or timestamps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .._errors import ConveyorError, lesson

Tokens = Sequence[Sequence[str]]


@dataclass
class TimeAxis:
    """The labels of the steps of every call.

    Attributes:
        tokens: of each call by its path, or of all calls with as many steps as the first ("").
        time: (T,) for the calls with so many steps, or None.
        first: the number of steps of the first call, once there was one.
    """

    tokens: dict[str, Tokens]
    time: npt.NDArray[Any] | None
    first: int | None = None

    def times(self, steps: int) -> npt.NDArray[Any]:
        """(T,) the time coordinate of a call with so many steps."""
        if self.time is not None and len(self.time) == steps:
            return self.time
        return np.arange(steps)

    def labels(
        self, path: str, samples: slice, steps: int, mask: npt.NDArray[Any] | None
    ) -> npt.NDArray[Any] | None:
        """(samples, T) the token of each step, "" where there is none; None without tokens.

        Raises:
            ConveyorError: other than a token for each step, or for each that counts.
        """
        self.first = self.first or steps
        tokens = self.tokens.get(path)
        if tokens is None and steps == self.first:
            tokens = self.tokens.get("")
        if tokens is None:
            return None
        width = max((len(token) for text in tokens for token in text), default=1)
        count = samples.stop - samples.start
        labels = np.full((count, steps), "", dtype=f"<U{max(1, width)}")
        for row, text in enumerate(tokens[samples]):
            counts = np.ones(steps, bool) if mask is None else mask[row]
            if len(text) == steps:
                labels[row] = list(text)
            elif len(text) == counts.sum():
                labels[row, counts] = list(text)
            else:
                raise _does_not_fit(path, samples.start + row, len(text), steps, int(counts.sum()))
        return labels


def check_time_axis(tokens: Any, time: Any, samples: int, paths: Sequence[str]) -> TimeAxis:
    """Read `tokens` and `time`.

    Raises:
        ConveyorError: not a text for each sample, a layer that is not there, a time that is not
            one axis.
    """
    by_path = dict(tokens) if isinstance(tokens, Mapping) else {"": tokens}
    checked: dict[str, Tokens] = {}
    for path, texts in by_path.items():
        if texts is None:
            continue
        if path and path.partition(" (call ")[0] not in paths:
            raise lesson(
                "trace",
                f"tokens for layers of the model: {', '.join(paths)}",
                f"tokens for {path!r}",
                'Write tokens={"encoder": [...], "decoder": [...]}.',
            )
        checked[path] = _check_texts(texts, samples)
    if time is not None:
        time = np.asarray(time)
        if time.ndim != 1:
            raise lesson(
                "trace",
                "time=(time_steps,), one value for each step, the same for all samples",
                f"shape {time.shape}",
                "Write time=range(20), or the timestamps of the steps; time=times[0] takes those "
                "of the first sample.",
            )
    return TimeAxis(checked, time)


def _check_texts(texts: Any, samples: int) -> Tokens:
    one_text = isinstance(texts, str) or not hasattr(texts, "__len__")
    rows = [] if one_text else [list(row) for row in texts]
    if one_text or len(rows) != samples:
        raise lesson(
            "trace",
            f"tokens with a list for each of the {samples} samples",
            "one text" if one_text else f"{len(rows)} of them",
            'Write tokens=[["mardi", "4", "mars"], ...], a token for each step; a text stands for '
            'its characters: tokens=["mardi", ...].',
        )
    return [[str(token) for token in row] for row in rows]


def check_time_was_used(axis: TimeAxis, steps: Sequence[int]) -> None:
    """Raise where no layer has as many steps as `time`."""
    if axis.time is not None and len(axis.time) not in steps:
        raise lesson(
            "trace",
            f"time= with a value for each of the {' or '.join(map(str, sorted(set(steps))))} steps",
            f"{len(axis.time)} values",
            f"Write time=range({max(steps, default=20)}), or leave time out.",
        )


def _does_not_fit(path: str, sample: int, tokens: int, steps: int, counting: int) -> ConveyorError:
    count = "" if counting == steps else f", of which {counting} count"
    return lesson(
        f'trace of "{path}"',
        f"a token for each of the {steps} steps of sample {sample}{count}",
        f"{tokens} tokens",
        f'Write tokens=[text + [""] * ({steps} - len(text)) for text in tokens] where the padding '
        "is on the right; or give the model a mask, and the tokens go where it counts.",
    )
