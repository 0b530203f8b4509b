"""Draws one GRU cell with the user's numbers on its wires.

As the LSTM is drawn: what is kept runs along the top like a conveyor belt. Here that is the hidden
state; the update gate says how much of it stays, and lets the candidate in where it does not.
"""

from __future__ import annotations

from ._flow import LayerFlow
from ._svg import (
    BELT,
    GATE,
    INK,
    MATHS,
    MONO,
    Drawing,
    arrow,
    belt,
    box,
    box_on_a_wire,
    box_width,
    operation,
    text,
    wire,
)

_WIDTH, _HEIGHT = 780, 436
_LEFT, _RIGHT = 96, 672  # the walls of the cell
_TOP, _BOTTOM = 40, 386
_BELT_Y = 92
_MEET_Y = 136  # 1 - z and the candidate meet here, under the belt
_RESET_Y = 172  # the reset gate acts here
_BOX_Y = 222
_BOX_HEIGHT = 38
_BOX_TOP, _BOX_FOOT = _BOX_Y - _BOX_HEIGHT // 2, _BOX_Y + _BOX_HEIGHT // 2
_WIRE_Y, _X_Y = 270, 288  # [h, x] for the gates, and x alone for the candidate
_H_X, _X_X = 122, 150  # h comes down from the belt here, x_t up
_RESET, _UPDATE, _CANDIDATE = 236, 388, 560
_BETWEEN = (_RESET + _UPDATE) // 2
_TURN = 458  # what is left of h turns down here, to the candidate


def gru_drawing(flow: LayerFlow) -> Drawing:
    """The cell on a canvas as large as that of an LSTM, nearly."""
    form = "after its product with h" if flow.reset_after else "on h"
    title = (
        f"GRU cell with {flow.units} units: h ({flow.units},) and x ({flow.features},) are joined "
        f"to ({flow.joined},); an update gate, a reset gate that acts {form}, and a candidate of "
        f"({flow.units},) each change the hidden state ({flow.units},)."
    )
    strokes = (
        f'<rect x="{_LEFT}" y="{_TOP}" width="{_RIGHT - _LEFT}" height="{_BOTTOM - _TOP}" '
        'rx="20" fill="currentColor" fill-opacity=".035" stroke-opacity=".3"/>',
        _wires_in_and_out(),
        _update_wires(),
        _reset_wires(flow),
        belt(f"M20 {_BELT_Y}H{_WIDTH - 30}"),
        arrow(_WIDTH - 17, _BELT_Y, "right", BELT, size=14),
        _boxes(flow),
        _outside_labels(flow),
        _gate_labels(flow),
    )
    return Drawing(_WIDTH, _HEIGHT, title, "".join(strokes))


def _wires_in_and_out() -> str:
    """h from the belt and x_t from below, joined for the gates; h_t up."""
    up_x = _RIGHT + 26
    return (
        wire(f"M{_H_X} {_BELT_Y}V{_WIRE_Y - 12}q0 12 12 12H{_UPDATE - 12}q12 0 12-12V{_BOX_FOOT}")
        + wire(f"M{_RESET - 12} {_WIRE_Y}q12 0 12-12V{_BOX_FOOT}")
        + wire(f"M{_X_X} {_HEIGHT - 4}V{_WIRE_Y + 12}q0-12 12-12")
        + wire(f"M{_X_X} {_X_Y + 12}q0-12 12-12H{_CANDIDATE - 12}q12 0 12-12V{_BOX_FOOT}")
        + wire(f"M{up_x - 12} {_BELT_Y}q12 0 12-12V22")
        + arrow(up_x, 14, "up")
    )


def _update_wires() -> str:
    """The update gate onto the belt; what it leaves open lets the candidate in."""
    return (
        wire(f"M{_UPDATE} {_BOX_TOP}V{_BELT_Y + 20}")
        + arrow(_UPDATE, _BELT_Y + 15, "up")
        + wire(f"M{_UPDATE} {_MEET_Y + 12}q0-12 12-12H{_CANDIDATE - 20}")
        + arrow(_CANDIDATE - 15, _MEET_Y, "right")
        + wire(f"M{_CANDIDATE} {_BOX_TOP}V{_MEET_Y + 20}")
        + arrow(_CANDIDATE, _MEET_Y + 15, "up")
        + wire(f"M{_CANDIDATE} {_MEET_Y}V{_BELT_Y + 20}")
        + arrow(_CANDIDATE, _BELT_Y + 15, "up")
    )


def _reset_wires(flow: LayerFlow) -> str:
    """From the belt down to where the reset gate acts, and on to the candidate from its side."""
    side = _CANDIDATE - box_width(flow.activation) / 2
    over = f"H{_UPDATE - 8}a8 8 0 0 1 16 0"  # the wire of the update gate
    return (
        wire(f"M{_RESET} {_BELT_Y}V{_RESET_Y - 20}")
        + arrow(_RESET, _RESET_Y - 15, "down")
        + wire(f"M{_RESET} {_BOX_TOP}V{_RESET_Y + 20}")
        + arrow(_RESET, _RESET_Y + 15, "up")
        + wire(
            f"M{_RESET} {_RESET_Y}{over}H{_TURN - 12}q12 0 12 12V{_BOX_Y - 12}q0 12 12 12"
            f"H{side - 9:g}"
        )
        + arrow(side - 2, _BOX_Y, "right")
    )


def _boxes(flow: LayerFlow) -> str:
    gate = "σ" if flow.recurrent_activation == "sigmoid" else flow.recurrent_activation
    product = box_on_a_wire(_RESET, 128, "R", height=22) if flow.reset_after else ""
    return (
        product
        + box(_RESET, _BOX_Y, gate, height=_BOX_HEIGHT)
        + box(_UPDATE, _BOX_Y, gate, height=_BOX_HEIGHT)
        + box(_CANDIDATE, _BOX_Y, flow.activation, height=_BOX_HEIGHT)
        + box((_UPDATE + _CANDIDATE) / 2, _MEET_Y, "1 −", height=26, rounded=True)
        + operation(_RESET, _RESET_Y, "x")
        + operation(_UPDATE, _BELT_Y, "x")
        + operation(_CANDIDATE, _MEET_Y, "x")
        + operation(_CANDIDATE, _BELT_Y, "+")
    )


def _outside_labels(flow: LayerFlow) -> str:
    units = f"({flow.units},)"
    return "".join(
        (
            _label(20, _BELT_Y - 34, "h_{t−1}", units, BELT),
            _label(_RIGHT + 46, _BELT_Y - 34, "h_t", units, BELT),
            _label(_X_X + 14, _HEIGHT - 26, "x_t", f"({flow.features},)", INK),
            text(_BETWEEN, _WIRE_Y - 23, "[h, x]", family=MATHS, size=15),
            text(_BETWEEN, _WIRE_Y - 7, f"({flow.joined},)", family=MONO, size=13, opacity=0.75),
        )
    )


def _label(x: float, y: float, name: str, shape: str, color: str) -> str:
    return text(
        x, y, name, family=MATHS, size=18, anchor="start", color=color, subscripts=True
    ) + text(x, y + 19, shape, family=MONO, size=13, anchor="start", opacity=0.75)


def _gate_labels(flow: LayerFlow) -> str:
    weight, bias = str(flow.gate_weight_shape), str(flow.gate_bias_shape or "none")
    of_x = f"({flow.units}, {flow.features})" if flow.reset_after else weight
    one_bias = f"({flow.units},)" if flow.use_bias else "none"
    # (1024, 2048) still fits its column, and (16384, 32384).
    size = 13 if len(weight) < 11 else 11.5 if len(weight) < 14 else 10
    columns = (
        (_RESET, "reset gate", f"W_r {weight}", f"b_r {bias}"),
        (_UPDATE, "update gate", f"W_z {weight}", f"b_z {bias}"),
        (_CANDIDATE, "candidate", f"W_g {of_x}", f"b_g {one_bias}"),
    )
    drawn = "".join(
        text(x, _WIRE_Y + 46, name, weight=600, color=GATE)
        + text(x, _WIRE_Y + 69, w, size=size, family=MONO, subscripts=True)
        + text(x, _WIRE_Y + 90, b, size=size, family=MONO, subscripts=True)
        for x, name, w, b in columns
    )
    if not flow.reset_after:
        return drawn
    beside = _RESET + 38
    return (
        drawn
        + text(
            beside, 125, f"R_g ({flow.units}, {flow.units})",
            size=size - 1, family=MONO, anchor="start", subscripts=True,
        )
        + text(
            beside, 142, f"b'_g {one_bias}",
            size=size - 1, family=MONO, anchor="start", subscripts=True,
        )
    )  # fmt: skip
