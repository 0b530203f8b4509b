"""What to do where a layer is not well, a line for each thing that is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ._health_numbers import LayerHealth
    from ._tree import Booleans

_ALWAYS = 0.99  # of the steps


def advise(layer: LayerHealth) -> Iterator[str]:
    """The lines, the cause of most first."""
    if layer.broken:
        yield (
            f"NaN or infinity from {layer.broken} on: training has diverged, or the input holds "
            "it. Check np.isfinite(x).all(); lower the learning rate, and give the optimizer "
            "clipnorm=1.0."
        )
        return
    if layer.outside:
        yield (
            f"{_in_words(layer.outside)} leave 0 to 1, so they are no gates, and the shares above "
            'mean little. Write recurrent_activation="sigmoid", the default.'
        )
    else:
        yield from _about_gates(layer)
    yield from _about_dead_units(layer)


def _about_gates(layer: LayerHealth) -> Iterator[str]:
    left, right = layer.left_saturated, layer.right_saturated
    saturated = float(np.mean([left[gate] + right[gate] for gate in left]))
    if saturated > 0.9:
        yield (
            f"{saturated:.0%} of all gate values are below 0.1 or above 0.9, where a sigmoid "
            "hardly learns. Scale the input to mean 0 and standard deviation 1, lower the learning "
            'rate, or keep the weights small: kernel_regularizer="l2".'
        )
    is_gru = layer.kind == "GRU"
    shut = right["update_gates"] if is_gru else left["input_gates"]  # i of a GRU is 1 - z
    reads_nothing = (shut > _ALWAYS) & ~layer.dead
    if reads_nothing.any():
        gate, side = ("update", "above 0.9") if is_gru else ("input", "below 0.1")
        yield (
            f"The {gate} gate of {_units(layer, reads_nothing)} is {side} in more than 99% of "
            "steps: they store next to nothing. Lower the learning rate, or make the layer smaller."
        )
    forgets = left["update_gates" if is_gru else "forget_gates"] > _ALWAYS
    if forgets.mean() >= 0.5:
        yield (
            f"The {'update' if is_gru else 'forget'} gate of {_units(layer, forgets)} is below 0.1 "
            f"in more than 99% of steps: each step wipes out what was before. {_keep(layer)} and "
            "train again; if the task needs no memory, a Dense layer does it."
        )
    elif layer.half_life.max() < 1:
        yield (
            "No unit keeps half of its memory for one step (the longest half-life is "
            f"{layer.half_life.max():.2g} steps). {_keep(layer)} and "
            "train again; if the task needs no memory, a Dense layer does it."
        )


def _keep(layer: LayerHealth) -> str:
    """How a layer begins with gates that keep."""
    if layer.kind == "GRU":
        return "Begin with larger biases in the update gates, by set_gate_weights,"
    return "Write unit_forget_bias=True (the default)"


def _about_dead_units(layer: LayerHealth) -> Iterator[str]:
    silent = layer.dead & ~layer.shut
    if silent.any():
        yield (
            f"{_units(layer, silent)}: dead, the hidden state never leaves 0 by 0.001. "
            "Lower the learning rate, or make the layer smaller."
        )
    if layer.shut.any():
        yield (
            f"{_units(layer, layer.shut)}: dead, the output gate is below 0.1 in every step, and "
            "what they remember is not shown. Lower the learning rate, or make the layer smaller."
        )


def _units(layer: LayerHealth, which: Booleans) -> str:
    numbers = [str(number) for number in layer.unit[which]]
    shown = ", ".join(numbers[:6]) + (", ..." if len(numbers) > 6 else "")
    return f"{len(numbers)} of {len(which)} units ({shown})"


def _in_words(gates: tuple[str, ...]) -> str:
    text = ", ".join(gate.replace("_", " ") for gate in gates)
    return text[0].upper() + text[1:]
