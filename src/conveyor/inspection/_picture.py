"""One sequence and what the LSTM remembered of it: checked, and ready to be drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt

from .._errors import lesson
from .._vocabulary import StateName
from ._characters import visible
from ._packing import Packed, pack
from ._palette import Scale
from ._seriation import order_of_units

# The switch of the heat map, in this order, and what each state is.
_ABOUT: dict[StateName, str] = {
    "cell_states": "c after every step: the conveyor belt, the long memory.",
    "hidden_states": "h after every step: what the layer shows of its memory.",
    "input_gates": "i at every step: how much of the candidate comes in. 0 is shut, 1 is open.",
    "forget_gates": "f at every step: how much of the old memory stays. 0 forgets, 1 keeps.",
    "candidates": "g at every step: what could come into the memory.",
    "output_gates": "o at every step: how much of the memory is shown. 0 is shut, 1 is open.",
}
_GATES: tuple[StateName, ...] = ("input_gates", "forget_gates", "output_gates")


@dataclass(frozen=True)
class ReportExample:
    """One sequence for the report.

    Attributes:
        title: its heading.
        source: the tokens read, one per time step: characters, mostly. Put together without
            spaces they are the text that the report shows.
        output: the text that the model wrote.
        expected: the text it should have written; empty where nobody knows.
        language: a name or a code of the source's language, `fr`.
        states: state name to array (T, U), T as long as `source`: the encoder's `cell_states`,
            and what else there is of the states with a time axis.
    """

    title: str
    source: Sequence[str]
    output: str
    expected: str
    language: str
    states: Mapping[StateName, npt.NDArray[Any]]


class PictureState(TypedDict):
    """One state as the page's script reads it."""

    packed: Packed
    palette: Scale
    low: float
    high: float
    clipped: bool  # whether some values lie outside of low and high
    about: str


class Picture(TypedDict):
    """One heat map as the page's script reads it."""

    labels: list[str]
    order: list[int]
    states: dict[StateName, PictureState]


def picture(example: ReportExample) -> Picture:
    """The data behind one heat map.

    Raises:
        ConveyorError: no states, a state without a time axis, or arrays that are not (T, U).
    """
    _check(example)
    names: list[StateName] = [name for name in _ABOUT if name in example.states]
    return {
        "labels": [visible(token) for token in example.source],
        "order": [int(unit) for unit in order_of_units(example.states[names[0]])],
        "states": {name: _picture_state(name, example.states[name]) for name in names},
    }


def _check(example: ReportExample) -> None:
    known = [name for name in example.states if name in _ABOUT]
    if not known or len(known) < len(example.states):
        raise lesson(
            f'ReportExample "{example.title}"',
            f"states among {', '.join(_ABOUT)}",
            ", ".join(example.states) or "none",
            "Pass one sample of record_states(model, x): "
            'states={name: array[0] for name, array in recorded["encoder"].items() '
            'if name not in ("hidden_state", "cell_state")}.',
        )
    shapes = {name: np.shape(array) for name, array in example.states.items()}
    expected = (len(example.source), shapes[known[0]][-1] if shapes[known[0]] else 0)
    wrong = {name: shape for name, shape in shapes.items() if shape != expected or 0 in shape}
    if wrong:
        raise lesson(
            f'ReportExample "{example.title}"',
            f"every state (time_steps, units), here {expected}: a row per token of source",
            ", ".join(f"{name} {shape}" for name, shape in wrong.items()),
            "A batch in front? Write array[0]. Padding at the end? Write array[:len(source)].",
        )


def _picture_state(name: StateName, array: npt.NDArray[Any]) -> PictureState:
    finite = np.asarray(array, dtype=np.float64)
    finite = finite[np.isfinite(finite)]
    largest = float(np.max(np.abs(finite), initial=0.0))
    is_gate = name in _GATES and float(np.min(finite, initial=0.0)) >= 0 and largest <= 1
    # A few units far out would leave the rest without colour: they share the end of the scale.
    usual = float(np.quantile(np.abs(finite), 0.995)) if finite.size else 0.0
    high = 1.0 if is_gate or not usual else float(f"{usual:.2g}")
    return {
        "packed": pack(array),
        "palette": "gate" if is_gate else "signed",
        "low": 0.0 if is_gate else -high,
        "high": high,
        "clipped": not is_gate and largest > high,
        "about": _ABOUT[name],
    }
