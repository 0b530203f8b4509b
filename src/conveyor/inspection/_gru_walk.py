"""The walk of one sample through a GRU, in words and numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._flow import LayerFlow

Row = tuple[str, str, str, str]  # what, rule, shape, what it means


def walk(flow: LayerFlow, read: str) -> Iterator[Row]:
    """From the input array, whose shape is `read`, to the hidden state."""
    gate, bias = flow.recurrent_activation, flow.gate_bias_shape
    weights = f"W {flow.gate_weight_shape}" + (f", b {bias}" if bias else "")
    units = f"({flow.units},)"
    start = "what was learned" if flow.learned_states else "zeros at the first step"

    def learned(letter: str) -> str:
        added = f" + b_{letter}" if flow.use_bias else ""
        return f"{letter} = {gate}(W_{letter} [h, x]{added})"

    yield "input", "(batch, time_steps, features)", read, "always these three axes"
    yield "one step", "x_t: (features,)", f"({flow.features},)", "one step of one sample"
    yield "before it", "h_{t-1}: (units,)", units, start
    yield "joined", "[h, x]: (units + features,)", f"({flow.joined},)", "what each gate reads"
    yield "update gate", learned("z"), weights, "how much of the old h stays"
    yield "reset gate", learned("r"), weights, "how much of h the candidate is made of"
    yield from _candidate(flow)
    yield "hidden state", "h_t = z * h_{t-1} + (1 - z) * g", units, "the conveyor belt, and shown"


def _candidate(flow: LayerFlow) -> Iterator[Row]:
    squash, n = flow.activation, flow.units
    added = " + b_g" if flow.use_bias else ""
    if not flow.reset_after:
        bias = f", b ({n},)" if flow.use_bias else ""
        rule = f"g = {squash}(W_g [r * h, x]{added})"
        yield "candidate", rule, f"W {flow.gate_weight_shape}{bias}", "what could come in"
        return
    own = " + b'_g" if flow.use_bias else ""
    bias = f", b' ({n},)" if flow.use_bias else ""
    yield "of the past", f"q = R_g h_{{t-1}}{own}", f"R {(n, n)}{bias}", "what h says to it"
    bias = f", b ({n},)" if flow.use_bias else ""
    rule = f"g = {squash}(W_g x_t{added} + r * q)"
    yield "candidate", rule, f"W {(n, flow.features)}{bias}", "what could come in"


def parameter_sum(flow: LayerFlow) -> str:
    """The number of parameters: the formula, with the numbers put in, and its result."""
    two = "2 * " if flow.reset_after else ""
    bias = (f" + {two}units", f" + {two}{flow.units}") if flow.use_bias else ("", "")
    learned = (" + units", f" + {flow.units}") if flow.learned_states else ("", "")
    return (
        f"3 * ((units + features) * units{bias[0]}){learned[0]} = "
        f"3 * (({flow.units} + {flow.features}) * {flow.units}{bias[1]}){learned[1]} = "
        f"{flow.parameters:,}"
    )


def notes(flow: LayerFlow) -> Iterator[str]:
    """What is not seen in the equations."""
    if not flow.reset_after:
        yield (
            "reset_after=False is the form of Cho et al. 2014: the reset gate acts on h before the "
            "product. cuDNN and PyTorch have the other one."
        )
        return
    yield (
        "reset_after=True is the form of cuDNN and PyTorch: the reset gate acts on q, after the "
        "product. R_g and W_g are W of the candidate, its columns for h and those for x."
    )
    if flow.use_bias:
        yield (
            f"Each gate has two biases, (2, {flow.units}): beside x and beside h. In update and "
            "reset gate their sum counts."
        )
