"""The stations of the walk that an LSTM has beyond the plain one, in words and numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._flow import LayerFlow

Row = tuple[str, str, str, str]  # what, rule, shape, what it means


def before_the_gates(flow: LayerFlow) -> Iterator[Row]:
    """Layer normalisation of what the gates are functions of, and its bounds."""
    v, bias = flow.variant, " + b" if flow.use_bias else ""
    if "gates" in v.norms:
        yield (
            "normalised",
            f"z = LN(W [h, x]) * s{bias}, each gate by itself",
            f"s {flow.more_weights['gate_scale']}",
            "mean 0, variance 1 over the units",
        )
    if "joint" in v.norms:
        yield (
            "normalised",
            f"z = LN(W_x x) * s_x + LN(W_h h) * s_h{bias}",
            f"s {flow.more_weights['gate_scale']}",
            "mean 0, variance 1 over all gates",
        )
    if v.clip is not None:
        yield (
            "clipped",
            f"z within [-{v.clip:g}, {v.clip:g}] in each gate",
            "",
            "no gate is driven too far",
        )


def preactivation(flow: LayerFlow, letter: str) -> str:
    """What the activation of one gate is applied to: `W_f [h, x] + b_f`."""
    v = flow.variant
    z = f"W_{letter} [h, x]" + (f" + b_{letter}" if flow.use_bias else "")
    if "gates" in v.norms or "joint" in v.norms:
        z = f"z_{letter}"
    if v.peephole and letter != "c":
        z += f" + p_{letter} * " + ("c_t" if letter == "o" else "c_{t-1}")
    return z


def way_out(flow: LayerFlow) -> tuple[list[Row], str]:
    """From the cell state to the hidden state: the stations, and what the last one is made of."""
    v, rows, inner = flow.variant, [], "c_t"
    shapes = flow.more_weights
    if "cell" in v.norms:
        rows.append(
            (
                "normalised",
                f"n = LN({inner}) * s + s'",
                f"s {shapes['cell_scale']}, s' {shapes['cell_shift']}",
                "mean 0, variance 1 over the units",
            )
        )
        inner = "n"
    if v.output_transform:
        rows.append(
            (
                "fifth weight",
                f"u = {inner} W5 + b5",
                f"W5 {shapes['output_kernel']}, b5 {shapes['output_bias']}",
                "what of c is worth showing",
            )
        )
        inner = "u"
    return rows, inner


def shown(flow: LayerFlow, rule: str) -> Row:
    """What the output gate lets out: the hidden state, or what its projection is made of."""
    if flow.variant.projection is None:
        return "hidden state", f"h_t = {rule}", f"({flow.units},)", "what the layer shows"
    return "let out", f"m_t = {rule}", f"({flow.units},)", "what the projection is of"


def after_the_step(flow: LayerFlow) -> Iterator[Row]:
    """What the projection and zoneout make of the new states."""
    v = flow.variant
    if v.projection is not None:
        yield (
            "hidden state",
            "h_t = m_t P",
            f"P {flow.more_weights['projection_kernel']}",
            "what the layer shows",
        )
    if any(v.zoneout):
        hidden, cell = v.zoneout
        yield (
            "zoneout",
            f"of h_t {hidden:g}, of c_t {cell:g} is what it was before",
            "",
            "a mean; in training units, drawn",
        )


def formula_of_more(flow: LayerFlow) -> Iterator[tuple[str, str]]:
    """The parameters beyond the gates: each in words, and in numbers."""
    v, units, gates = flow.variant, flow.units, flow.variant.gates
    if v.peephole:
        yield f"{gates - 1} * units", f"{gates - 1} * {units}"
    if v.output_transform:
        yield "(units + 1) * units", f"({units} + 1) * {units}"
    if v.projection is not None:
        yield "units * projection", f"{units} * {v.projection}"
    if "gates" in v.norms:
        yield f"{gates} * units", f"{gates} * {units}"
    if "joint" in v.norms:
        yield f"2 * {gates} * units", f"2 * {gates} * {units}"
    if "cell" in v.norms:
        yield "2 * units", f"2 * {units}"


def notes(flow: LayerFlow) -> Iterator[str]:
    """What is not seen in the equations."""
    v = flow.variant
    if v.coupled:
        yield (
            "coupled=True leaves the input gate no weights of its own: where the forget gate makes "
            "room, the candidate comes in."
        )
    if v.projection is not None:
        yield (
            f"projection={v.projection} is the length of h, which every gate reads; c keeps its "
            f"{flow.units} units."
        )
    if v.recurrent_weight_dropout:
        yield (
            f"In training {v.recurrent_weight_dropout:g} of recurrent_kernel is dropped, others at "
            "each call."
        )


def drawn_weights(flow: LayerFlow) -> str:
    """The weights beyond the gates and their shapes, in one line for the drawing."""
    short = {
        "peephole_kernel": "p",
        "output_kernel": "W5",
        "output_bias": "b5",
        "projection_kernel": "P",
        "gate_scale": "s",
        "cell_scale": "s of c",
    }
    shapes = flow.more_weights
    return " · ".join(f"{name} {shapes[key]}" for key, name in short.items() if key in shapes)
