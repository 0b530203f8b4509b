"""A search over many sources: in batches, from the first step until the last target has ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops
from numpy.typing import NDArray

from ._backtrace import Paths, Written
from ._chunks import CHUNK, Chunks
from ._config import SearchConfig
from ._ensemble import Ensemble, StepModel
from ._shapes import Group, fewer_rows, groups, leave_at, padded
from ._steps import Plan


def find(
    models: Sequence[StepModel],
    plan: Plan,
    sources: Sequence[Sequence[int]],
    config: SearchConfig,
    number_from: int = 0,
) -> list[Paths | None]:
    """What was written for each source; None for one without tokens."""
    found: list[Paths | None] = [None] * len(sources)
    weights = _chunks_of(models, plan).weights()
    for group in groups([len(source) for source in sources], config.batch_tokens):
        search = GroupSearch(models, plan, sources, group, config, number_from, weights)
        while search.unfinished:
            search.advance()
        for n, written in zip(group.members, search.written, strict=True):
            found[n] = Paths.of(written, beams=plan.way == "beam")
    return found


class GroupSearch:
    """The search for a group of sources, on its way.

    Args:
        models: that write.
        plan: how.
        sources: token ids.
        group: which of them.
        config: `length_penalty`, `temperature`, `top_p`, `seed`, the maximum length.
        number_from: number of the first source, which decides what is drawn for it.
        weights: of the models, where they were looked up already.
    """

    def __init__(
        self,
        models: Sequence[StepModel],
        plan: Plan,
        sources: Sequence[Sequence[int]],
        group: Group,
        config: SearchConfig,
        number_from: int = 0,
        weights: Any = None,
    ) -> None:
        chosen = [sources[n] for n in group.members]
        self.written = [Written() for _ in chosen]
        self._chunks = _chunks_of(models, plan)
        self._weights = self._chunks.weights() if weights is None else weights
        # The source in each row, -1 where there is none.
        self._rows = np.full(group.rows, -1)
        self._rows[: len(chosen)] = np.arange(len(chosen))
        limits = [_limit(config, source) for source in chosen]
        self._limits = np.array([*limits, 0], "int32")  # the last is that of row -1
        self._given = {
            "alpha": np.float32(config.length_penalty),
            "temperature": np.float32(config.temperature),
            "top_p": np.float32(config.top_p),
        }
        self._uniforms = None
        if plan.way == "sample":
            numbers = [number_from + n for n in group.members]
            self._uniforms = _uniforms(config.seed, numbers, plan.width, max(limits))
        self._start = 0
        source = padded(chosen, group.rows, group.length)
        # A power of two: so few shapes compile.
        capacity = 1 << (max(limits) - 1).bit_length() if plan.ngram else 1
        self._memory, self._carry = self._chunks.begin(
            source, self._now(), np.zeros(capacity, "int32")
        )

    @property
    def unfinished(self) -> bool:
        """Whether there is something left to write."""
        return bool((self._rows >= 0).any())

    def advance(self, steps: int = CHUNK) -> None:
        """Goes on for some steps, CHUNK at most; what is finished then leaves the batch."""
        schedule = {
            "start": self._start,
            "steps": steps,
            "leave_at": leave_at(len(self._rows)),
        }
        self._carry, done, unfinished, records = self._chunks.run(
            self._weights, self._memory, self._carry, self._now(), schedule
        )
        made = int(done)
        tokens, parents, logs = (ops.convert_to_numpy(record)[:made] for record in records)
        for row in np.nonzero(self._rows >= 0)[0]:
            self.written[self._rows[row]].add(tokens[:, row], parents[:, row], logs[:, row])
        self._start += made
        self._leave(ops.convert_to_numpy(unfinished))

    def _now(self) -> dict[str, Any]:
        """What the next steps are given."""
        given = {**self._given, "limits": self._limits[self._rows]}
        if self._uniforms is not None:
            chunk = self._uniforms[self._start : self._start + CHUNK]
            given["uniforms"] = chunk[:, self._rows]
        return given

    def _leave(self, unfinished: NDArray[np.bool_]) -> None:
        staying = np.nonzero(unfinished)[0]
        self._rows = np.where(unfinished, self._rows, -1)
        rows = fewer_rows(len(self._rows), len(staying))
        if not len(staying) or rows == len(self._rows):
            return
        # Rows to spare are filled with one that is finished.
        spare = np.full(rows - len(staying), int(np.argmin(unfinished)))
        kept = np.concatenate([staying, spare]).astype("int32")
        self._rows = self._rows[kept]
        self._memory, self._carry = self._chunks.keep(self._memory, self._carry, kept)


def _chunks_of(models: Sequence[StepModel], plan: Plan) -> Chunks:
    """The compiled search of these models, made once."""
    # In __dict__ and past __setattr__: to Keras it is no part of the model. It holds the
    # models, so they must hold it, or neither would ever be freed.
    kept: dict[Any, Chunks] = models[0].__dict__.setdefault("_searches", {})
    key = (plan, *map(id, models))
    if key not in kept:
        kept[key] = Chunks(Ensemble(models), plan)
    return kept[key]


def _limit(config: SearchConfig, source: Sequence[int]) -> int:
    return int(config.max_length_ratio * len(source)) + config.max_length_extra


def _uniforms(seed: int, numbers: Sequence[int], width: int, steps: int) -> NDArray[np.float32]:
    """Random numbers (steps, sources + 1, K): for a source the same in any company."""
    steps = (-(-steps // CHUNK) + 1) * CHUNK  # a chunk that begins anywhere is whole
    drawn = np.zeros((steps, len(numbers) + 1, width), "float32")
    for row, number in enumerate(numbers):
        for k in range(width):
            rng = np.random.default_rng([seed, number, k])
            drawn[:, row, k] = rng.random(steps, dtype="float32")
    return drawn
