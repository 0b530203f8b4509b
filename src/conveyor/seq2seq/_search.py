"""The search for targets: greedy, by beams, or by drawing; in batches, for one model or several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .._errors import lesson
from ._backtrace import Paths, best_of_beams, nothing, samples, tree_of
from ._batched_search import find
from ._config import SearchConfig
from ._ensemble import StepModel
from ._forced import with_attention
from ._hypothesis import BeamTree, Hypothesis
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
    check(config, n_best)
    _check_sources(every, sources)
    found = find(every, _plan(config, n_best), sources, config, number_from)
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
    check(config, n_best)
    _check_sources(every, sources)
    trees = []
    for paths in find(every, _plan(config, n_best), sources, config):
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


def check(config: SearchConfig, n_best: int) -> None:
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


def _check_sources(models: Sequence[StepModel], sources: Sequence[Sequence[int]]) -> None:
    size = min((model.source.size for model in models if hasattr(model, "source")), default=None)
    for n, source in enumerate(sources):
        tokens = np.asarray(source)
        if not tokens.size:
            continue
        known = tokens.ndim == 1 and tokens.dtype.kind in "iu" and int(tokens.min()) > 0
        if not known or (size is not None and int(tokens.max()) >= size):
            raise lesson(
                "search",
                f"sources of token ids from 1{'' if size is None else f' to {size - 1}'}",
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
