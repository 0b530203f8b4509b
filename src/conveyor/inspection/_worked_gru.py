"""One step of a GRU with every number on the way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from rich.console import RenderableType

from .. import ops
from ..layers import gate_weights
from ..layers._find import Layer
from ._flow import LayerFlow
from ._printed import Printed
from ._worked_gru_table import as_table
from ._worked_inputs import Numbers, apply

_keras_ops: Any = keras.ops  # Keras ships no types


@dataclass(frozen=True, eq=False)
class WorkedGRUExample(Printed):
    """Every number of one step of a GRU on one sample: print it, or let a notebook show it.

    The gates go by the names of `gate_weights()`: "update", "reset", "candidate". At a masked step
    nothing is computed: what lies between the states is NaN.

    Attributes:
        flow: the layer in words and shapes.
        sample, step: which; `step` is the place in the sequence as it was given, from 0.
        time_steps: T.
        masked: whether the layer skips this step.
        x: (F,) the input of the step.
        hidden_state_before: (U,) h_{t-1}.
        joined: (U + F,) [h_{t-1}, x_t].
        weights: W (U, U + F) and b of each gate.
        preactivations: (U,) for each gate, of which it is the activation.
        gates: (U,) for each gate.
        of_the_past: (U,) what the reset gate acts on: h_{t-1}, with `reset_after`
            q = R_g h_{t-1} + b'_g.
        not_reset: (U,) the reset gate times that.
        kept: (U,) z * h_{t-1}.
        added: (U,) (1 - z) * g.
        hidden_state: (U,) h_t, the sum of both.
    """

    flow: LayerFlow
    sample: int
    step: int
    time_steps: int
    masked: bool
    x: Numbers
    hidden_state_before: Numbers
    joined: Numbers
    weights: dict[str, tuple[Numbers, Numbers | None]]
    preactivations: dict[str, Numbers]
    gates: dict[str, Numbers]
    of_the_past: Numbers
    not_reset: Numbers
    kept: Numbers
    added: Numbers
    hidden_state: Numbers

    def to_dict(self) -> dict[str, Numbers]:
        """The numbers by name, in the order of the computation: `"update_gate"`, `"kept"`, ..."""
        return {
            "x": self.x,
            "hidden_state_before": self.hidden_state_before,
            "joined": self.joined,
            **{f"{gate}_preactivation": z for gate, z in self.preactivations.items()},
            "update_gate": self.gates["update"],
            "reset_gate": self.gates["reset"],
            "of_the_past": self.of_the_past,
            "not_reset": self.not_reset,
            "candidate": self.gates["candidate"],
            "kept": self.kept,
            "added": self.added,
            "hidden_state": self.hidden_state,
        }

    def __rich__(self) -> RenderableType:
        return as_table(self)


def work_out_gru(
    layer: Layer,
    flow: LayerFlow,
    at: tuple[int, int, int],
    counts: bool,
    x: Numbers,
    h: Numbers,
) -> WorkedGRUExample:
    """The step, number by number."""
    joined, units = np.concatenate([h, x]), len(h)
    weights = {
        gate: (W.astype(np.float64), None if b is None else b.astype(np.float64))
        for gate, (W, b) in gate_weights(layer).items()
    }
    nothing = np.full_like(h, np.nan)
    if not counts:
        z, gates = (dict.fromkeys(weights, nothing) for _ in range(2))
        return WorkedGRUExample(
            flow, *at, True, x, h, joined, weights, z, gates, nothing, nothing, nothing, nothing, h
        )
    gate_of = layer.cell.recurrent_activation
    z, gates = {}, {}
    for gate in ("update", "reset"):
        weight, bias = weights[gate]
        # Two biases, whose sum counts, or one.
        z[gate] = weight @ joined + (0 if bias is None else np.atleast_2d(bias).sum(axis=0))
        gates[gate] = apply(gate_of, z[gate])
    weight, bias = weights["candidate"]
    of_h, of_x = weight[:, :units], weight[:, units:]
    if flow.reset_after:
        past = of_h @ h + (0 if bias is None else bias[1])
        not_reset = gates["reset"] * past
        z["candidate"] = of_x @ x + (0 if bias is None else bias[0]) + not_reset
    else:
        past = h
        not_reset = gates["reset"] * past
        z["candidate"] = of_h @ not_reset + of_x @ x + (0 if bias is None else bias)
    gates["candidate"] = apply(layer.cell.activation, z["candidate"])
    kept, added = gates["update"] * h, (1 - gates["update"]) * gates["candidate"]
    return WorkedGRUExample(
        flow, *at, False, x, h, joined, weights, z, gates, past, not_reset, kept, added,
        kept + added,
    )  # fmt: skip


def hidden_state_before(
    layer: Layer, x: Numbers, counts: npt.NDArray[np.bool_], h: Numbers, step: int
) -> Numbers:
    """h (U,) before one step of `x` (T, F), from that before the first one read."""
    earlier = slice(step + 1, None) if layer.go_backwards else slice(step)
    if len(x[earlier]) == 0:
        return h
    cell = layer.cell
    weights = (cell.kernel, cell.recurrent_kernel, cell.bias)
    kernel, recurrent_kernel, bias = (
        None if w is None else _keras_ops.convert_to_numpy(w).astype(np.float64) for w in weights
    )
    hidden_state = ops.gru(
        x[None, earlier],
        kernel,
        recurrent_kernel,
        bias,
        hidden_state=h[None],
        mask=counts[None, earlier],
        activation=cell.activation,
        recurrent_activation=cell.recurrent_activation,
        reset_after=cell.reset_after,
        go_backwards=layer.go_backwards,
        outputs="hidden_state",
    )
    last: Numbers = hidden_state[0]
    return last
