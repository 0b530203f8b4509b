"""How a search for an output went, as plain data: what it kept at each step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._errors import ConveyorError, lesson

# A log probability that is summed up in bfloat16 may rise by so much without being wrong.
_ROUNDING = 0.05


@dataclass(frozen=True)
class SearchNode:
    """A token that a search wrote and kept.

    Attributes:
        token: the token as text.
        parent: the node that it goes on from, by its place in the step before; None in the first.
        log_probability: of all tokens from the first to this one.
        finished: whether the text ends here. The token is then the mark of the end, and not a
            part of the text.
    """

    token: str
    parent: int | None
    log_probability: float
    finished: bool = False


@dataclass(frozen=True)
class SearchTree:
    """All that a search kept for one sample: at each step a node for each beam.

    Attributes:
        steps: the nodes of each step, from the first on.
        chosen: (step, place in it) of the node with which the text that was chosen ends.
        between: what stands between two tokens in a text: `" "` for words. `▁` in a token is a
            space, and `<0xE2>` is a byte of UTF-8, as sentencepiece writes them.

    Raises:
        ConveyorError: a step without nodes; a parent that is not in the step before, or has
            ended; a log probability that is none, or rises along the way.

    >>> first = [SearchNode("▁good", None, -0.2), SearchNode("▁the", None, -1.9)]
    >>> then = [SearchNode("</s>", 0, -0.3, finished=True), SearchNode("▁end", 1, -2.0)]
    >>> tree = SearchTree([first, then], chosen=(1, 0))
    """

    steps: Sequence[Sequence[SearchNode]]
    chosen: tuple[int, int]
    between: str = ""

    def __post_init__(self) -> None:
        if not self.steps or not all(self.steps):
            empty = [number for number, step in enumerate(self.steps) if not step]
            raise _lesson(
                "one or more steps, with a node in each",
                f"none in step {empty[0]}" if empty else "no steps",
                "Write None in searches= for a sample without a search.",
            )
        for number, step in enumerate(self.steps):
            for place, node in enumerate(step):
                self._check(number, place, node)
        if not self._has(self.chosen):
            raise _lesson(
                "chosen=(step, place in it) of the node that the chosen text ends with, from 0",
                f"{self.chosen!r}, and {_sizes(self.steps)}",
                "Write chosen=(len(steps) - 1, 0) for the first node of the last step.",
            )

    def _check(self, number: int, place: int, node: SearchNode) -> None:
        here = f"step {number}, node {place}"
        if not isinstance(node.token, str):
            raise _lesson(
                "tokens as text",
                f"{node.token!r} in {here}",
                "Write SearchNode(token=vocabulary.pieces([token])[0], ...).",
            )
        if not math.isfinite(node.log_probability):
            raise _lesson(
                "log probabilities that are numbers",
                f"{node.log_probability} in {here}",
                "Leave out the nodes of beams that were not in use.",
            )
        if number == 0:
            if node.parent is not None:
                raise _lesson(
                    "no parents in the first step",
                    f"parent={node.parent} in {here}",
                    "Write SearchNode(token, None, log_probability).",
                )
            before = 0.0
        else:
            before = self._parent(number, here, node).log_probability
        if node.log_probability > before + _ROUNDING:
            raise _lesson(
                "log probabilities of all tokens so far, which never rise",
                f"{node.log_probability:g} in {here}, after {before:g}",
                "Add up along the way: log_probability = parent.log_probability + that of the "
                "token.",
            )

    def _parent(self, number: int, here: str, node: SearchNode) -> SearchNode:
        above = self.steps[number - 1]
        if not _is_place(node.parent, above):
            raise _lesson(
                f"a parent in the step before, which has {len(above)} nodes: 0 to {len(above) - 1}",
                f"parent={node.parent!r} in {here}",
                "Count the nodes of each step from 0; only the first step has no parents.",
            )
        parent = above[node.parent]  # type: ignore[index]
        if parent.finished:
            raise _lesson(
                "nothing after the end of a text",
                f"parent={node.parent} in {here}, which had finished",
                "Leave out what the search wrote after the end, padding or copies of it.",
            )
        return parent

    def _has(self, chosen: Any) -> bool:
        return (
            isinstance(chosen, tuple)
            and len(chosen) == 2
            and _is_place(chosen[0], self.steps)
            and _is_place(chosen[1], self.steps[chosen[0]])
        )

    @classmethod
    def from_arrays(
        cls,
        tokens: Any,
        parents: Any,
        log_probabilities: Any,
        finished: Any,
        chosen: tuple[int, int],
        between: str = "",
    ) -> SearchTree:
        """From arrays as a search by beams fills them, (steps, beams) each.

        Args:
            tokens: texts.
            parents: the beam of the step before; in the first step anything.
            log_probabilities: of all tokens so far; -inf where a beam was not in use.
            finished: whether the text ended here.
            chosen: (step, beam) of the end of the chosen text.
            between: as in `SearchTree`.

        Raises:
            ConveyorError: arrays of different shapes; what is no tree.

        >>> tree = SearchTree.from_arrays(
        ...     [["a", "b"], ["c", ""]], [[-1, -1], [1, -1]], [[-0.5, -1.0], [-1.2, -np.inf]],
        ...     [[False, False], [True, False]], chosen=(1, 0))
        >>> tree.steps[1]
        [SearchNode(token='c', parent=1, log_probability=-1.2, finished=True)]
        """
        texts, above, logs, ends = (
            np.asarray(array, dtype)
            for array, dtype in (
                (tokens, object),
                (parents, np.int64),
                (log_probabilities, np.float64),
                (finished, np.bool_),
            )
        )
        shapes = {array.shape for array in (texts, above, logs, ends)}
        if len(shapes) != 1 or logs.ndim != 2:
            raise _lesson(
                "tokens, parents, log_probabilities and finished (steps, beams)",
                f"{texts.shape}, {above.shape}, {logs.shape} and {ends.shape}",
                "Pass the records of one sample: tokens[sample], and so on.",
            )
        in_use = logs != -np.inf
        # Where each beam comes to lie among those in use; -1 is nowhere.
        places = np.where(in_use, np.cumsum(in_use, axis=1) - 1, -1)
        length = int(np.max(np.nonzero(in_use.any(axis=1))[0], initial=-1)) + 1

        def place(step: int, beam: int) -> int:
            inside = 0 <= step < length and 0 <= beam < logs.shape[1]
            return int(places[step, beam]) if inside else -1

        steps = [
            [
                SearchNode(
                    texts[step, beam],
                    None if step == 0 else place(step - 1, above[step, beam]),
                    float(logs[step, beam]),
                    bool(ends[step, beam]),
                )
                for beam in np.nonzero(in_use[step])[0]
            ]
            for step in range(length)
        ]
        return cls(steps, (chosen[0], place(*chosen)), between)


def _is_place(place: Any, among: Sequence[Any]) -> bool:
    return (
        isinstance(place, (int, np.integer))
        and not isinstance(place, bool)
        and 0 <= int(place) < len(among)
    )


def _sizes(steps: Sequence[Sequence[SearchNode]]) -> str:
    return f"{len(steps)} steps of {min(map(len, steps))} to {max(map(len, steps))} nodes"


def _lesson(expected: str, got: str, write: str) -> ConveyorError:
    return lesson("SearchTree", expected, got, write)
