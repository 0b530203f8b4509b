"""Draws one LSTM cell with the user's numbers on its wires.

The picture everybody knows from Christopher Olah's "Understanding LSTM Networks" (2015): the cell
state runs along the top like a conveyor belt, and gates take from it and put onto it.
"""

from __future__ import annotations

from ..layers._variant import PLAIN
from ._flow import LayerFlow
from ._gru_drawing import gru_drawing
from ._svg import BELT, GATE, INK, MATHS, MONO, Drawing, arrow, belt, box, operation, text, wire
from ._variant_drawing import Places, beyond_plain, on_the_way_out

_WIDTH, _HEIGHT = 780, 424
_LEFT, _RIGHT = 96, 672  # the walls of the cell
_TOP, _BOTTOM = 40, 372
_BELT_Y = 92
_MEET_Y = 160  # input gate and candidate meet here, under the belt
_BOX_Y = 216
_BOX_HEIGHT = 38
_BOX_TOP, _BOX_FOOT = _BOX_Y - _BOX_HEIGHT // 2, _BOX_Y + _BOX_HEIGHT // 2
_WIRE_Y = 270  # [h, x] runs along here, under the gates
_X_X = 122  # x_t comes up here
_FORGET, _INPUT, _CANDIDATE, _OUTPUT = 210, 327, 444, 561
_OUT_X, _OUT_Y = 630, 174  # the way from the belt to h, and where the output gate joins it
PLACES = Places(
    belt=_BELT_Y, forget=_FORGET, let_in=_INPUT, output=_OUTPUT, out=_OUT_X, box=_BOX_Y,
    box_height=_BOX_HEIGHT, joined=_WIRE_Y, meet=_OUT_Y, foot=_BOTTOM,
)  # fmt: skip


def draw_cell(flow: LayerFlow) -> str:
    """The cell of one LSTM or GRU as an SVG drawing, 780 wide at most, for light and dark pages.

    Returns:
        Text of one `<svg>` element, to be put into a page as it is.

    >>> import keras
    >>> from conveyor.inspection import describe
    >>> flow, = describe(keras.layers.LSTM(64), input_shape=(20, 32))
    >>> "(64, 96)" in draw_cell(flow)
    True
    """
    return cell_drawing(flow).inline()


def cell_drawing(flow: LayerFlow) -> Drawing:
    """The same, to be put on a sheet with others."""
    if flow.is_gru:
        return gru_drawing(flow)
    title = (
        f"LSTM cell with {flow.units} units: h ({flow.hidden_size},) and x ({flow.features},) are "
        f"joined to ({flow.joined},); three gates and a candidate of ({flow.units},) each "
        f"change the cell state ({flow.units},)."
    )
    if flow.variant is not PLAIN:
        title += f" With {', '.join(flow.variant.beyond_plain())}."
    strokes = (
        f'<rect x="{_LEFT}" y="{_TOP}" width="{_RIGHT - _LEFT}" height="{_BOTTOM - _TOP}" '
        'rx="20" fill="currentColor" fill-opacity=".035" stroke-opacity=".3"/>',
        _hidden_state_wires(),
        _gate_wires(flow),
        beyond_plain(flow, PLACES),
        _belt(),
        _boxes(flow),
        _outside_labels(flow),
        _gate_labels(flow),
    )
    return Drawing(_WIDTH, _HEIGHT, title, "".join(strokes))


def _belt() -> str:
    return (
        belt(f"M20 {_BELT_Y}H{_WIDTH - 30}")
        + arrow(_WIDTH - 17, _BELT_Y, "right", BELT, size=14)
        + operation(_FORGET, _BELT_Y, "x")
        + operation(_CANDIDATE, _BELT_Y, "+")
    )


def _hidden_state_wires() -> str:
    """h_{t-1} in at the left, x_t in from below, h_t out to the right and up."""
    up_x = _RIGHT + 26
    return (
        wire(f"M20 {_WIRE_Y}H{_OUTPUT - 12}q12 0 12-12")
        + wire(f"M{_X_X} {_HEIGHT - 4}V{_WIRE_Y + 12}q0-12 12-12")
        + wire(f"M{_OUT_X} {_BELT_Y}V{_WIRE_Y - 12}q0 12 12 12H{_WIDTH - 24}")
        + arrow(_WIDTH - 17, _WIRE_Y, "right")
        # The belt is never broken: the wire upwards passes behind it.
        + wire(f"M{up_x - 12} {_WIRE_Y}q12 0 12-12V{_BELT_Y + 14}m0-28V22")
        + arrow(up_x, 14, "up")
    )


def _gate_wires(flow: LayerFlow) -> str:
    """From [h, x] up into every box, and from the boxes to where their numbers are used."""
    read = (_FORGET, _CANDIDATE) if flow.variant.coupled else (_FORGET, _INPUT, _CANDIDATE)
    taps = "".join(wire(f"M{x - 12} {_WIRE_Y}q12 0 12-12V{_BOX_FOOT}") for x in read)
    return (
        taps
        + wire(f"M{_OUTPUT} {_WIRE_Y - 12}V{_BOX_FOOT}")
        + wire(f"M{_FORGET} {_BOX_TOP}V{_BELT_Y + 20}")
        + arrow(_FORGET, _BELT_Y + 15, "up")
        + wire(f"M{_INPUT} {_BOX_TOP}V{_MEET_Y + 12}q0-12 12-12H{_CANDIDATE - 20}")
        + arrow(_CANDIDATE - 15, _MEET_Y, "right")
        + wire(f"M{_CANDIDATE} {_BOX_TOP}V{_MEET_Y + 20}")
        + arrow(_CANDIDATE, _MEET_Y + 15, "up")
        + wire(f"M{_CANDIDATE} {_MEET_Y}V{_BELT_Y + 20}")
        + arrow(_CANDIDATE, _BELT_Y + 15, "up")
        + wire(f"M{_OUTPUT} {_BOX_TOP}V{_OUT_Y + 12}q0-12 12-12H{_OUT_X - 20}")
        + arrow(_OUT_X - 15, _OUT_Y, "right")
    )


def _boxes(flow: LayerFlow) -> str:
    gate = "σ" if flow.recurrent_activation == "sigmoid" else flow.recurrent_activation
    coupled = flow.variant.coupled
    let_in = box(_INPUT, _BOX_Y, "1 −" if coupled else gate, height=_BOX_HEIGHT, rounded=coupled)
    shown, y, height = flow.output_activation or flow.activation, _BELT_Y + 34, 28
    if on_the_way_out(flow):
        y, height = _BELT_Y + 48, 20
    return (
        box(_FORGET, _BOX_Y, gate, height=_BOX_HEIGHT)
        + let_in
        + box(_CANDIDATE, _BOX_Y, flow.activation, height=_BOX_HEIGHT)
        + box(_OUTPUT, _BOX_Y, gate, height=_BOX_HEIGHT)
        + box(_OUT_X, y, shown, height=height, rounded=True)
        + operation(_CANDIDATE, _MEET_Y, "x")
        + operation(_OUT_X, _OUT_Y, "x")
    )


def _outside_labels(flow: LayerFlow) -> str:
    units, features, hidden = (f"({n},)" for n in (flow.units, flow.features, flow.hidden_size))
    return "".join(
        (
            _wire_label(20, _BELT_Y - 34, "c_{t−1}", units, BELT),
            _wire_label(_RIGHT + 46, _BELT_Y - 34, "c_t", units, BELT),
            _wire_label(20, _WIRE_Y - 34, "h_{t−1}", hidden, INK),
            _wire_label(_RIGHT + 46, _WIRE_Y - 34, "h_t", hidden, INK),
            _wire_label(_X_X + 14, _HEIGHT - 26, "x_t", features, INK),
            text(134, _WIRE_Y - 27, "[h, x]", family=MATHS, size=15),
            text(134, _WIRE_Y - 10, f"({flow.joined},)", family=MONO, size=13, opacity=0.75),
        )
    )


def _wire_label(x: float, y: float, name: str, shape: str, color: str) -> str:
    return text(
        x, y, name, family=MATHS, size=18, anchor="start", color=color, subscripts=True
    ) + text(x, y + 19, shape, family=MONO, size=13, anchor="start", opacity=0.75)


def _gate_labels(flow: LayerFlow) -> str:
    bias = f"({flow.units},)" if flow.use_bias else "none"
    weight = f"({flow.units}, {flow.joined})"
    columns = (
        (_FORGET, "forget gate", "f"),
        (_INPUT, "input gate", "i"),
        (_CANDIDATE, "candidate", "c"),
        (_OUTPUT, "output gate", "o"),
    )
    # (1024, 2048) still fits its column, and (16384, 32384).
    size = 13 if len(weight) < 11 else 11.5 if len(weight) < 14 else 10
    return "".join(
        text(x, _WIRE_Y + 30, name, weight=600, color=GATE)
        + (
            text(x, _WIRE_Y + 53, "1 − f", size=size, family=MONO)
            if gate == "i" and flow.variant.coupled
            else text(
                x, _WIRE_Y + 53, f"W_{gate} {weight}", size=size, family=MONO, subscripts=True
            )
            + text(x, _WIRE_Y + 74, f"b_{gate} {bias}", size=size, family=MONO, subscripts=True)
        )
        for x, name, gate in columns
    )
