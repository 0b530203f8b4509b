"""The layers of a trace as the report needs them: plain arrays and labels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from .._errors import lesson
from .._vocabulary import AnyStateName
from ..layers._find import Direction
from ._characters import visible
from ._kinds import GRU_KIND, kind_in

# The switch of the heat map, in this order, and what each state is.
ABOUT: dict[AnyStateName, str] = {
    "cell_states": "c after every step: the conveyor belt, the long memory.",
    "hidden_states": "h after every step: what the layer shows of its memory.",
    "input_gates": "i at every step: how much of the candidate comes in. 0 is shut, 1 is open.",
    "forget_gates": "f at every step: how much of the old memory stays. 0 forgets, 1 keeps.",
    "update_gates": "z at every step: how much of h stays. 0 takes the candidate, 1 keeps.",
    "reset_gates": "r at every step: how much of h the candidate is made of. 0 is none of it.",
    "candidates": "g at every step: what could come into the memory.",
    "output_gates": "o at every step: how much of the memory is shown. 0 is shut, 1 is open.",
}
_ABOUT_GRU: dict[AnyStateName, str] = {
    "hidden_states": "h after every step: the conveyor belt, the memory, which is also shown.",
}


@dataclass(frozen=True)
class TracedLayer:
    """One call of one LSTM or GRU, sample by sample.

    Attributes:
        path: its name in the trace, `encoder` or `shared (call 2)`.
        direction: which way it reads the steps.
        states: (B, T, U) each, NaN at a masked step; in the order of `ABOUT`.
        initial_state: (B, U), that of `memory` before the first step; `None` where the trace has
            none.
        tokens: a list for each sample, `""` past the end of a short one; `None` without text.
        times: a label for each step, where the user gave timestamps.
        numbers: the numbers of the units, as not all of them need be in the trace.
        is_gru: whether it is a GRU, whose memory is its hidden state.
    """

    path: str
    direction: Direction
    states: dict[AnyStateName, npt.NDArray[Any]]
    initial_state: npt.NDArray[Any] | None
    tokens: list[list[str]] | None
    times: list[str] | None
    numbers: list[int]
    is_gru: bool = False

    @property
    def memory(self) -> AnyStateName:
        """The state that matters most: the cell states, or the first that was traced."""
        return next(iter(self.states))

    def about(self, state: AnyStateName) -> str:
        """What a state is, in this layer."""
        return (_ABOUT_GRU if self.is_gru else ABOUT).get(state, ABOUT[state])

    @property
    def shape(self) -> tuple[int, int, int]:
        """(B, T, U)."""
        samples, steps, units = self.states[self.memory].shape
        return samples, steps, units

    @cached_property
    def lengths(self) -> list[int]:
        """For each sample the steps up to the last that counts: what follows is padding."""
        counts = np.isfinite(self.states[self.memory]).any(axis=2)
        if self.tokens is not None:
            written = np.array([[token != "" for token in sample] for sample in self.tokens])
            counts = np.where(written.any(axis=1, keepdims=True), written, counts)
        steps = np.arange(1, counts.shape[1] + 1)
        return [max(1, int(longest)) for longest in (counts * steps).max(axis=1)]

    @cached_property
    def labels(self) -> list[list[str]] | None:
        """What stands below each step of each sample; none where there are only numbers."""
        if self.tokens is None:
            return None
        return [
            [visible(token) for token in sample[:length]]
            for sample, length in zip(self.tokens, self.lengths, strict=True)
        ]

    def change_per_step(self) -> npt.NDArray[np.float64]:
        """(B, T): by how much the memory of a unit changes at each step, on average.

        The first step that is read changes the initial state, or zero; a masked step
        changes nothing.
        """
        states = np.asarray(self.states[self.memory], dtype=np.float64)
        samples, steps, units = states.shape
        before = np.zeros((samples, units))
        if self.initial_state is not None:
            before = np.nan_to_num(np.asarray(self.initial_state, dtype=np.float64))
        change = np.zeros((samples, steps))
        for step in range(steps) if self.direction == "forward" else reversed(range(steps)):
            after = np.where(np.isfinite(states[:, step]), states[:, step], before)
            change[:, step] = np.abs(after - before).mean(axis=1)
            before = after
        return change


def traced_layers(tree: Any) -> tuple[TracedLayer, ...]:
    """Every layer of a trace that has states with a time axis.

    Args:
        tree: what `conveyor.trace` gives, or the dataset of one layer in it.

    Raises:
        ConveyorError: no trace; no such layer in it, or it has no sample or no step.
    """
    if not hasattr(tree, "data_vars"):
        raise lesson(
            "report",
            "a trace, or the dataset of one layer in it",
            type(tree).__name__,
            "Write tree=conveyor.trace(model, x).",
        )
    layers = tuple(_layer(path, node) for path, node in _nodes(tree, "") if _known(node))
    if not layers or any(0 in layer.shape for layer in layers):
        raise lesson(
            "report",
            f"a trace with at least one sample, step and unit of {', '.join(ABOUT)}",
            "; ".join(f"{layer.path} (sample, time, unit) {layer.shape}" for layer in layers)
            or "one without any of these",
            "Write trace(model, x) without select=, or with select=('cell_states',) in it.",
        )
    return layers


def _nodes(node: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Depth first, as the layers ran; `DataTree.subtree` goes breadth first."""
    yield path or str(getattr(node, "name", None) or "lstm"), node
    for name, child in getattr(node, "children", {}).items():
        yield from _nodes(child, f"{path}/{name}" if path else str(name))


def _known(node: Any) -> list[AnyStateName]:
    # The states of a projection are none of the units, which are in a row there.
    there = [name for name in ABOUT if name in node.data_vars]
    return [name for name in there if "projection" not in node[name].dims]


def _layer(path: str, node: Any) -> TracedLayer:
    axes = ("sample", "time", "unit")
    states: dict[AnyStateName, npt.NDArray[Any]] = {
        name: np.asarray(node[name].transpose(*axes).values) for name in _known(node)
    }
    kind, memory = kind_in(node), next(iter(states))
    initial = None
    if memory == kind.memory:
        initial = node.data_vars.get(f"initial_{kind.last_memory}")
    return TracedLayer(
        path,
        node.attrs["direction"],
        states,
        None if initial is None else np.asarray(initial.transpose("sample", "unit").values),
        _tokens(node),
        _times(node),
        [int(unit) for unit in node.coords["unit"].values],
        kind is GRU_KIND,
    )


def _tokens(node: Any) -> list[list[str]] | None:
    if "token" not in node.coords:
        return None
    token = node.coords["token"].transpose("sample", "time").values
    return [["" if text is None else str(text) for text in sample] for sample in token]


def _times(node: Any) -> list[str] | None:
    """Timestamps as the user gave them; plain numbers from 0 say nothing that a step does not."""
    if "time" not in node.coords:
        return None
    times = np.asarray(node.coords["time"].values)
    if np.issubdtype(times.dtype, np.number) and np.array_equal(times, np.arange(times.size)):
        return None
    if np.issubdtype(times.dtype, np.datetime64):
        return [str(time) for time in np.datetime_as_string(times, unit="auto")]
    return [f"{time:g}" if isinstance(time, float) else str(time) for time in times.tolist()]
