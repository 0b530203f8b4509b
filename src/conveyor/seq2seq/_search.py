"""The search for targets: greedy, by beams, or by drawing; in batches, for one model or several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from keras import ops
from numpy.typing import NDArray

from .._errors import lesson
from ._backtrace import Paths, Written, best_of_beams, nothing, samples, tree_of
from ._chunks import CHUNK, Chunks
from ._config import SearchConfig
from ._ensemble import Ensemble, StepModel
from ._forced import with_attention
from ._hypothesis import BeamTree, Hypothesis
from ._shapes import Shapes, batches, padded
from ._steps import Plan


def search(
    models: StepModel | Sequence[StepModel],
    sources: Sequence[Sequence[int]],
    config: SearchConfig | None = None,
    *,
    n_best: int = 1,
    return_attention: bool = False,
    number_from: int = 0,
) -> list[list[Hypothesis]]:
    """The best targets of each source, best first.

    `config.beam=1` is greedy: the likeliest token at each step. More beams keep as many
    hypotheses at each step; those that end are ranked by their log probability over
    `length_penalty`. A source is done when all its beams have ended, or when no open one can
    still become one of the `n_best`. `config.sample` draws `n_best` targets instead. None of
    them writes padding, begin or unknown.

    Results depend neither on what else is in the batch nor on padding, but for rounding.

    Args:
        models: a `Seq2Seq`, or several of the same vocabularies, whose probabilities are
            averaged.
        sources: token ids, without padding. For one without tokens nothing is written, with
            log probability 0.
        config: how to search.
        n_best: hypotheses for each source; fewer come back where a beam search finds fewer.
        return_attention: whether hypotheses have their attention, which takes a second pass.
        number_from: the number of the first source, which with `config.seed` decides what is
            drawn for it.

    Raises:
        ConveyorError: more hypotheses than beams; tokens that are none.

    >>> from conveyor.seq2seq import Characters, Config, ModelConfig, Seq2Seq
    >>> letters = Characters("abc")
    >>> sizes = ModelConfig(units=8, embedding_size=8, output_size=8)
    >>> model = Seq2Seq(letters, letters, Config(model=sizes))
    >>> found = search(model, [letters.encode("abc")], SearchConfig(beam=3), n_best=2)
    >>> found[0][0].score >= found[0][1].score
    True
    """
    config = SearchConfig() if config is None else config
    every = _several(models)
    check(sources, config, n_best)
    found = _find(every, sources, config, n_best, number_from)
    hypotheses = [
        [nothing()] * (n_best if config.sample else 1)
        if paths is None
        else _ranked(paths, config, n_best)
        for paths in found
    ]
    if return_attention:
        return with_attention(every, sources, hypotheses, config.batch_tokens)
    return hypotheses


def beam_trees(
    models: StepModel | Sequence[StepModel],
    sources: Sequence[Sequence[int]],
    config: SearchConfig | None = None,
    *,
    n_best: int = 1,
) -> list[BeamTree]:
    """The same search with all that it kept at each step, for those who want to look at it.

    Args: as of `search`.

    Raises:
        ConveyorError: as `search`; samples, which are no beams.
    """
    config = SearchConfig() if config is None else config
    if config.sample:
        raise lesson("beam_trees", "a search by beams", "sample=True", "Write sample=False.")
    every = _several(models)
    check(sources, config, n_best)
    trees = []
    for paths in _find(every, sources, config, n_best, 0):
        if paths is None:
            empty = np.zeros((0, config.beam))
            ids = empty.astype("int32")
            trees.append(BeamTree(ids, ids, empty, empty.astype(bool), [nothing()]))
        else:
            trees.append(tree_of(paths, _ranked(paths, config, n_best)))
    return trees


def _several(models: StepModel | Sequence[StepModel]) -> tuple[StepModel, ...]:
    several = tuple(models) if isinstance(models, Sequence) else (models,)
    if not several:
        raise lesson("search", "a model, or several", "none", "Write search([model], sources).")
    return several


def check(sources: Sequence[Sequence[int]], config: SearchConfig, n_best: int) -> None:
    """Refuses what cannot be searched for."""
    whole = isinstance(n_best, int) and not isinstance(n_best, bool)
    if not whole or n_best < 1:
        raise lesson("search", "n_best from 1", f"n_best={n_best!r}", "Write n_best=1.")
    if n_best > config.beam and not config.sample:
        raise lesson(
            "search",
            "at least as many beams as hypotheses are wanted",
            f"beam={config.beam}, n_best={n_best}",
            f"Write beam={n_best}, n_best={n_best}.",
        )
    for n, source in enumerate(sources):
        tokens = np.asarray(source)
        if tokens.size and (
            tokens.ndim != 1 or tokens.dtype.kind not in "iu" or not (tokens > 0).all()
        ):
            raise lesson(
                "search",
                "sources of token ids above 0 (which is padding)",
                f"sources[{n}]={source!r:.100}",
                'Write search(model, [model.source.encode("a text")]).',
            )


def _ranked(paths: Paths, config: SearchConfig, n_best: int) -> list[Hypothesis]:
    if config.sample or config.beam == 1:
        return samples(paths, config.length_penalty)
    return best_of_beams(paths, config.length_penalty, n_best)


def _plan(config: SearchConfig, n_best: int) -> Plan:
    plan = Plan("greedy", ngram=config.no_repeat_ngram)
    if config.sample:
        return replace(plan, way="sample", width=n_best, nucleus=config.top_p < 1)
    if config.beam == 1:
        return plan
    return replace(plan, way="beam", width=config.beam, best=n_best)


def chunks_of(models: Sequence[StepModel], plan: Plan) -> Chunks:
    """The compiled search of these models, made once."""
    # In __dict__ and past __setattr__: to Keras it is no part of the model. It holds the
    # models, so they must hold it, or neither would ever be freed.
    every: dict[Any, Chunks] = models[0].__dict__.setdefault("_searches", {})
    key = (plan, *map(id, models))
    if key not in every:
        every[key] = Chunks(Ensemble(models), plan)
    return every[key]


def limit(config: SearchConfig, source: Sequence[int]) -> int:
    """The step after which a target is cut off."""
    return max(1, int(config.max_length_ratio * len(source)) + config.max_length_extra)


def _find(
    models: tuple[StepModel, ...],
    sources: Sequence[Sequence[int]],
    config: SearchConfig,
    n_best: int,
    number_from: int,
) -> list[Paths | None]:
    """What was written for each source; None for one without tokens."""
    plan = _plan(config, n_best)
    chunks = chunks_of(models, plan)
    found: list[Paths | None] = [None] * len(sources)
    for batch in batches(sources, Shapes(), config.batch_tokens):
        numbers = [number_from + n for n in batch]
        written = _Batch(chunks, config, [sources[n] for n in batch], numbers).search()
        for n, each in zip(batch, written, strict=True):
            found[n] = Paths.of(each, beams=plan.way == "beam")
    return found


class _Batch:
    """A batch of sources on its way, from the first step to the last."""

    def __init__(
        self,
        chunks: Chunks,
        config: SearchConfig,
        sources: list[Sequence[int]],
        numbers: list[int],
    ) -> None:
        self._chunks = chunks
        self._shapes = Shapes()
        self._knobs = {
            "alpha": np.float32(config.length_penalty),
            "temperature": np.float32(config.temperature),
            "top_p": np.float32(config.top_p),
        }
        self._sources = sources
        rows = self._shapes.rows(len(sources))
        # The source in each row, -1 where there is none.
        self._rows = np.arange(rows)
        self._rows[len(sources) :] = -1
        limits = [limit(config, source) for source in sources]
        self._limits = np.array([*limits, 0], "int32")  # the last is for row -1
        self._uniforms = None
        if chunks.plan.way == "sample":
            self._uniforms = _uniforms(config.seed, numbers, chunks.plan.width, max(limits))

    def search(self) -> list[Written]:
        """What is written for each source, step after step."""
        written = [Written() for _ in self._sources]
        memory, carry = self._begin()
        start = 0
        while (self._rows >= 0).any():
            schedule = {"start": start, "steps": CHUNK, "leave_at": self._leave_at()}
            given = self._given(start)
            carry, done, unfinished, records = self._chunks.run(memory, carry, given, schedule)
            steps = int(done)
            tokens, parents, logs = (ops.convert_to_numpy(record)[:steps] for record in records)
            for row in np.nonzero(self._rows >= 0)[0]:
                written[self._rows[row]].add(tokens[:, row], parents[:, row], logs[:, row])
            start += steps
            memory, carry = self._leave(memory, carry, ops.convert_to_numpy(unfinished))
        return written

    def _begin(self) -> tuple[Any, Any]:
        rows = len(self._rows)
        length = self._shapes.length(max(map(len, self._sources)))
        source = padded(self._sources, rows, length)
        most = int(self._limits.max())
        capacity = np.zeros(1 << (most - 1).bit_length() if self._shapes.few else most, "int32")
        if not self._chunks.plan.ngram:
            capacity = capacity[:1]  # nobody looks
        return self._chunks.begin(source, self._given(0), capacity)

    def _given(self, start: int) -> dict[str, Any]:
        given: dict[str, Any] = {**self._knobs, "limits": self._limits[self._rows]}
        if self._uniforms is not None:
            given["uniforms"] = self._uniforms[start : start + CHUNK][:, self._rows]
        return given

    def _leave_at(self) -> int:
        return self._shapes.leave_at(len(self._rows))

    def _leave(self, memory: Any, carry: Any, unfinished: NDArray[np.bool_]) -> tuple[Any, Any]:
        """The batch without those that are finished, if that makes it smaller."""
        staying = np.nonzero(unfinished)[0]
        self._rows = np.where(unfinished, self._rows, -1)
        if not len(staying):
            return memory, carry
        rows = self._shapes.smaller(len(self._rows), len(staying))
        if rows == len(self._rows):
            return memory, carry
        # Rows to spare are filled with one that is finished.
        spare = int(np.argmin(unfinished))
        kept = np.concatenate([staying, np.full(rows - len(staying), spare)]).astype("int32")
        self._rows = self._rows[kept]
        return self._chunks.keep(memory, carry, kept)


def _uniforms(seed: int, numbers: list[int], width: int, steps: int) -> NDArray[np.float32]:
    """Random numbers (steps, sources + 1, K), of each source the same in any company."""
    padded_steps = -(-steps // CHUNK) * CHUNK + CHUNK  # any chunk of them is whole
    drawn = np.zeros((padded_steps, len(numbers) + 1, width), "float32")
    for row, number in enumerate(numbers):
        for k in range(width):
            rng = np.random.default_rng([seed, number, k])
            drawn[:, row, k] = rng.random(padded_steps, dtype="float32")
    return drawn
