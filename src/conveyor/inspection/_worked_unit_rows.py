"""The rows of the table from z to h, with all that a layer may have beyond the plain LSTM."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ._worked_numbers import short, within

if TYPE_CHECKING:
    from ._flow import LayerFlow
    from ._worked_example import WorkedExample

Row = tuple[str, Any]  # what it is, and its numbers


def preactivation(example: WorkedExample, gate: str, letter: str) -> Iterator[Row]:
    """What one gate is a function of, and what that is made of."""
    flow, more = example.flow, example.more
    v, bias = flow.variant, f" + b_{letter}" if flow.use_bias else ""
    # The same letter for what becomes of it, as a program would write it.
    z = more.get(f"{gate}_unclipped", example.preactivations[gate])
    peephole = more.get(f"{gate}_peephole")
    before = z if peephole is None else z - peephole
    if "gates" in v.norms:
        yield f"a_{letter} = W_{letter} [h, x]", more[f"{gate}_product"]
        yield f"n_{letter} = LN(a_{letter})", more[f"{gate}_normalised"]
        yield f"z_{letter} = n_{letter} * s_{letter}{bias}", before
    elif "joint" in v.norms:
        for of, mark in (("x", ""), ("h", "'")):
            yield f"a{mark}_{letter} = W_{letter} on {of}", more[f"{gate}_product_of_{of}"]
            yield f"n{mark}_{letter} of LN(a{mark})", more[f"{gate}_normalised_of_{of}"]
        scaled = f"n_{letter} * s_{letter} + n'_{letter} * s'_{letter}"
        yield f"z_{letter} = {scaled}{bias}", before
    else:
        yield f"z_{letter} = W_{letter} [h, x]{bias}", before
    if peephole is not None:
        seen = "c_t" if gate == "output" else "c_{t-1}"
        yield f"p_{letter} * {seen}", peephole
        yield f"z_{letter} += p_{letter} * {seen}", z
    if v.clip is not None:
        yield f"z_{letter} {within(v.clip)}", example.preactivations[gate]


def cell_state(example: WorkedExample) -> Iterator[Row]:
    """From the gates to the cell state that the hidden state is made of."""
    more, bound = example.more, example.flow.variant.cell_clip
    c = more.get("new_cell_state", example.cell_state)
    yield "f * c_{t-1}", example.kept
    yield "i * g", example.added
    yield "c_t = f * c_{t-1} + i * g", more.get("unclipped_cell_state", c)
    if bound is not None:
        yield f"c_t {within(bound)}", c


def hidden_state(example: WorkedExample) -> Iterator[Row]:
    """From the cell state to the hidden state, and both as the next step has them."""
    flow, more, shown = example.flow, example.more, "c_t"
    h = more.get("new_hidden_state", example.hidden_state)
    if "normalised" in more:
        yield "n = LN(c_t) * s + s'", more["normalised"]
        shown = "n"
    if "transformed" in more:
        yield f"u = {shown} W5 + b5", more["transformed"]
        shown = "u"
    shown = f"{short(flow.output_activation or flow.activation)}({shown})"
    yield shown, example.activated
    if "let_out" in more:
        yield f"m_t = o * {shown}", more["let_out"]
        yield "h_t = m_t P", h
    else:
        yield f"h_t = o * {shown}", h
    parts = dict(zip(("hidden", "cell"), flow.variant.zoneout, strict=True))
    for which, of, state in (
        ("cell", "c", example.cell_state),
        ("hidden", "h", example.hidden_state),
    ):
        if f"new_{which}_state" in more:
            old, new = f"{parts[which]:g}", f"{1 - parts[which]:g}"
            yield f"{of}_t = {old} {of}_{{t-1}} + {new} {of}_t", state


def notes(flow: LayerFlow) -> Iterator[str]:
    """What is not seen in the rows."""
    v = flow.variant
    over = [
        *["the units of one gate"] * ("gates" in v.norms),
        *["the units of all gates at once"] * ("joint" in v.norms),
        *["the units of c"] * ("cell" in v.norms),
    ]
    if over:
        yield f"LN(a) = (a - mean) / sqrt(variance + 1e-5), over {', and over '.join(over)}."
    if any(v.zoneout):
        yield "zoneout is the mean that it is at inference; in training units keep the old state."
