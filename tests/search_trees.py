"""Searches made by hand: a search by beams with a table of random tokens instead of a model."""

from __future__ import annotations

import numpy as np

from conveyor.inspection import SearchTree


def search_tree(tokens, beams, steps, seed=0, sharp=3.0, **settings):
    """The tree of a beam search; the first token is the end. Beams without use hold -inf."""
    rng = np.random.default_rng(seed)
    # Log probabilities of a token after a token: few are probable, as in a language.
    table = sharp * rng.normal(size=(len(tokens) + 1, len(tokens)))
    table[:, 0] += 1 - sharp
    table -= np.log(np.exp(table).sum(axis=1, keepdims=True))
    shape = (steps, beams)
    written, parents = np.zeros(shape, int), np.full(shape, -1)
    logs, ended = np.full(shape, -np.inf), np.zeros(shape, bool)
    for step in range(steps):
        if step == 0:
            totals = table[-1:].copy()
            totals[0, 0] = -np.inf
        else:
            open_ = np.where(ended[step - 1], -np.inf, logs[step - 1])
            totals = open_[:, np.newaxis] + table[written[step - 1]]
        best = np.argsort(-totals, axis=None, kind="stable")[: beams - ended[:step].sum()]
        best = best[np.isfinite(totals.ravel()[best])]
        used = slice(0, len(best))
        parents[step, used], written[step, used] = np.unravel_index(best, totals.shape)
        logs[step, used] = totals.ravel()[best]
        ended[step, used] = written[step, used] == 0
    last = np.arange(steps)[:, np.newaxis] == steps - 1
    ends = np.argwhere(ended if ended.any() else np.isfinite(logs) & last)
    lengths = (6 + ends[:, 0]) / 6
    chosen = ends[np.argmax(logs[tuple(ends.T)] / lengths)]
    texts = [[tokens[token] for token in row] for row in written]
    return SearchTree.from_arrays(texts, parents, logs, ended, tuple(map(int, chosen)), **settings)
