"""What a search finds: hypotheses, and the tree that they were found in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Integers = NDArray[np.integer[Any]]


@dataclass(frozen=True, eq=False)
class Hypothesis:
    """A target that a search wrote for a source.

    Attributes:
        tokens: what was written, without begin and end.
        score: what hypotheses are ranked by: `log_probability` over `length_penalty`.
        log_probability: sum of `token_log_probabilities`.
        token_log_probabilities: of each token, and of the end where it was written, after the
            source and the tokens before. The model's own: temperature, top-p and forbidden
            tokens don't show in them.
        finished: whether it ends by itself; False: it was cut off at the maximum length.
        attention: (steps, T), for each token (and the end) the share of each source token;
            None where it was not asked for, or the model has no attention.
    """

    tokens: list[int]
    score: float
    log_probability: float
    token_log_probabilities: list[float]
    finished: bool
    attention: Floats | None = None


@dataclass(frozen=True, eq=False)
class BeamTree:
    """All that a beam search kept of one source: K beams at each of L steps.

    Attributes:
        tokens: (L, K), what was written; 0 (PADDING) where a beam was no longer in use.
        parents: (L, K), which beam of the step before it goes on from; -1 at the first.
        log_probabilities: (L, K), of all tokens so far; -inf where not in use.
        finished: (L, K), whether the hypothesis ended here.
        hypotheses: the best of them, best first.
    """

    tokens: Integers
    parents: Integers
    log_probabilities: Floats
    finished: NDArray[np.bool_]
    hypotheses: list[Hypothesis]


def length_penalty(length: Any, alpha: Any) -> Any:
    """((5 + length) / 6) ** alpha, which a log probability is divided by (Wu et al. 2016).

    Without it (alpha = 0) short targets win, as each further token makes a target less likely.
    The end counts as a token. (doi:10.48550/arXiv.1609.08144, equation 14.)

    >>> length_penalty(1, 1.0), length_penalty(7, 1.0), length_penalty(7, 0.0)
    (1.0, 2.0, 1.0)
    """
    return ((5 + length) / 6) ** alpha
