"""What a drawing of the cell has beyond the plain LSTM: more wires, more boxes."""

from __future__ import annotations

from dataclasses import dataclass

from ._flow import LayerFlow
from ._svg import BELT, GATE, MONO, arrow, box_on_a_wire, text, wire
from ._variant_walk import drawn_weights


@dataclass(frozen=True)
class Places:
    """Where the plain cell has its parts: x of columns, y of rows."""

    belt: int
    forget: int
    let_in: int
    output: int
    out: int
    box: int
    box_height: int
    joined: int
    meet: int
    foot: int


def on_the_way_out(flow: LayerFlow) -> str:
    """What happens to the cell state before its activation: "LN", "W5", or both."""
    v = flow.variant
    parts = ["LN"] * ("cell" in v.norms) + ["W5"] * v.output_transform
    return " ".join(parts)


def beyond_plain(flow: LayerFlow, at: Places) -> str:
    """All of it; nothing for a plain LSTM."""
    v, drawn = flow.variant, ""
    if v.peephole:
        drawn += _peepholes(flow, at)
    if v.coupled:
        drawn += wire(f"M{at.forget + 30} {at.box}H{at.let_in - 38}")
        drawn += arrow(at.let_in - 32, at.box, "right")
    if on_the_way_out(flow):
        drawn += box_on_a_wire(at.out, at.belt + 24, on_the_way_out(flow), height=20)
    if v.projection is not None:
        drawn += box_on_a_wire(at.out, at.meet + 42, "P", height=24)
    if "gates" in v.norms or "joint" in v.norms:
        drawn += text(at.out - 130, at.joined - 8, "LN", color=GATE, size=12)
    if flow.more_weights:
        line = drawn_weights(flow)
        size = 11.5 if len(line) < 76 else 9
        drawn += text((at.forget + at.output) / 2, at.foot - 9, line, size=size, family=MONO)
    return drawn


def _peepholes(flow: LayerFlow, at: Places) -> str:
    """From the belt, as it comes in, to forget and input gate; as it goes on, to the output gate.

    They enter the boxes from above, beside the way out.
    """
    top, y = at.box - at.box_height // 2, at.box - 36
    into = [at.forget - 20] if flow.variant.coupled else [at.forget - 20, at.let_in - 20]
    left, right = at.forget - 48, at.output - 52
    dashed = '<g stroke-dasharray="4 4">'
    drawn = wire(f"M{left} {at.belt}V{y}H{into[-1]}", BELT)
    drawn += "".join(wire(f"M{x} {y}V{top - 8}", BELT) for x in into)
    drawn += wire(f"M{right} {at.belt}V{y}H{at.output - 20}V{top - 8}", BELT)
    arrows = "".join(arrow(x, top - 1, "down", BELT) for x in (*into, at.output - 20))
    return f"{dashed}{drawn}</g>{arrows}"
