"""The same table for one step of a GRU."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import RenderableType

from ._worked_sum import one_sum
from ._worked_table import Row, function, skipped, table

if TYPE_CHECKING:
    from ._worked_gru import WorkedGRUExample

_ONE_SUM = "One of the sums, a_z of unit 0; the others are made the same way."


def as_table(example: WorkedGRUExample) -> RenderableType:
    """The whole of it, for rich."""
    units = of_units(example)
    if example.masked:
        return table(example, units, skipped(example, "the hidden"))
    return table(example, units, _ONE_SUM, one_sum(example, "update", "z", "a_z"))


def of_units(example: WorkedGRUExample) -> Iterator[Row]:
    """A row for each number of a unit, in the order of the computation."""
    flow, past = example.flow, "h_{t-1}"
    yield past, example.hidden_state_before
    if example.masked:
        yield "h_t = h_{t-1}", example.hidden_state
        return
    for gate, letter in (("update", "z"), ("reset", "r")):
        bias = f" + b_{letter}" if flow.use_bias else ""
        bias += f" + b'_{letter}" if flow.use_bias and flow.reset_after else ""
        yield f"a_{letter} = W_{letter} [h, x]{bias}", example.preactivations[gate]
        yield f"{letter} = {function(example, gate)}(a_{letter})", example.gates[gate]
    bias = " + b_g" if flow.use_bias else ""
    if flow.reset_after:
        own = " + b'_g" if flow.use_bias else ""
        yield f"q = R_g h_{{t-1}}{own}", example.of_the_past
        yield "r * q", example.not_reset
        yield f"a_g = W_g x_t{bias} + r * q", example.preactivations["candidate"]
    else:
        yield "r * h_{t-1}", example.not_reset
        yield f"a_g = W_g [r * h, x]{bias}", example.preactivations["candidate"]
    yield f"g = {function(example, 'candidate')}(a_g)", example.gates["candidate"]
    yield "z * h_{t-1}", example.kept
    yield "(1 - z) * g", example.added
    yield "h_t = z * h_{t-1} + (1 - z) * g", example.hidden_state
