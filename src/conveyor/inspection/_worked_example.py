"""One step of a layer with every number on the way, to be followed with a pencil."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras.src.backend import get_keras_mask
from rich.console import RenderableType

from .. import ops
from ..layers import _checks, gate_weights
from ..layers._find import Layer
from ..layers._variant import refuse_variants
from ..ops import _checks as ops_checks
from ._flow import LayerFlow
from ._printed import Printed
from ._worked_gru import WorkedGRUExample, hidden_state_before, work_out_gru
from ._worked_inputs import Numbers, apply, array, flow_of, place, states_at_start
from ._worked_table import as_table

_keras_ops: Any = keras.ops  # Keras ships no types


@dataclass(frozen=True, eq=False)
class WorkedExample(Printed):
    """Every number of one step of an LSTM on one sample: print it, or let a notebook show it.

    The four gates go by the names of `gate_weights()`: "input", "forget", "candidate", "output".
    At a masked step nothing is computed: what lies between the states is NaN.

    Attributes:
        flow: the layer in words and shapes.
        sample, step: which; `step` is the place in the sequence as it was given, from 0.
        time_steps: T.
        masked: whether the layer skips this step.
        x: (F,) the input of the step.
        hidden_state_before, cell_state_before: (U,) h_{t-1} and c_{t-1}.
        joined: (U + F,) [h_{t-1}, x_t].
        weights: W (U, U + F) and b (U,) of each gate.
        preactivations: (U,) for each gate, z = W [h_{t-1}, x_t] + b.
        gates: (U,) for each gate, its activation of z.
        kept: (U,) f * c_{t-1}.
        added: (U,) i * g.
        cell_state: (U,) c_t, the sum of both.
        activated: (U,) the activation of c_t, `tanh(c_t)`.
        hidden_state: (U,) h_t, the output gate times that.
    """

    flow: LayerFlow
    sample: int
    step: int
    time_steps: int
    masked: bool
    x: Numbers
    hidden_state_before: Numbers
    cell_state_before: Numbers
    joined: Numbers
    weights: dict[str, tuple[Numbers, Numbers | None]]
    preactivations: dict[str, Numbers]
    gates: dict[str, Numbers]
    kept: Numbers
    added: Numbers
    cell_state: Numbers
    activated: Numbers
    hidden_state: Numbers

    def to_dict(self) -> dict[str, Numbers]:
        """The numbers by name, in the order of the computation: `"forget_gate"`, `"kept"`, ..."""
        return {
            "x": self.x,
            "hidden_state_before": self.hidden_state_before,
            "cell_state_before": self.cell_state_before,
            "joined": self.joined,
            **{f"{gate}_preactivation": z for gate, z in self.preactivations.items()},
            **{
                f"{gate}_gate".replace("candidate_gate", "candidate"): numbers
                for gate, numbers in self.gates.items()
            },
            "kept": self.kept,
            "added": self.added,
            "cell_state": self.cell_state,
            "activated": self.activated,
            "hidden_state": self.hidden_state,
        }

    def __rich__(self) -> RenderableType:
        return as_table(self)


def worked_example(
    layer: Layer,
    x: Any,
    *,
    sample: int = 0,
    step: int = 0,
    mask: Any = None,
    initial_state: Any = None,
) -> WorkedExample | WorkedGRUExample:
    """Every intermediate number of one time step of one sample.

    The steps before it are run by `conveyor.ops.lstm` or `conveyor.ops.gru`, the step itself is
    worked out number by number, all in float64 and without dropout: what the layer computes in its
    own dtype, to the rounding of that.

    Args:
        layer: a built LSTM or GRU, of conveyor or of Keras; of a Bidirectional its
            `forward_layer` or `backward_layer`, of a model `model.get_layer(name)`.
        x: (B, T, F), the input of this layer.
        sample: which sequence of the batch, from 0; -1 is the last.
        step: which time step, from 0, as `x` has them, also for a layer that goes backwards
            (which reads the last one first); -1 is the last.
        mask: (B, T), False at steps to skip.
        initial_state: the pair [hidden_state, cell_state], (B, U) each; of a GRU the hidden
            state. Without it zeros; for a stateful layer what its next call would begin with.

    Returns:
        What `print` and a notebook show as a table; its attributes and `.to_dict()` have all
        numbers of all units. Of a GRU a `WorkedGRUExample`.

    Raises:
        ConveyorError: not one LSTM or GRU, or not built; inputs that do not fit it; a sample or a
            step that is not there.

    >>> import numpy as np
    >>> from conveyor import LSTM
    >>> layer, x = LSTM(4), np.ones((2, 5, 3), "float32")
    >>> layer.build(x.shape)
    >>> example = worked_example(layer, x, step=-1)
    >>> np.array_equal(example.cell_state, example.kept + example.added)
    True
    >>> example.gates["forget"].shape, example.preactivations["forget"].shape
    ((4,), (4,))
    """
    flow = flow_of(layer)
    where = f'{"GRU" if flow.is_gru else "LSTM"} "{layer.name}" in worked_example'
    refuse_variants(
        layer.cell,
        where,
        "the plain LSTM",
        "conveyor.explain(layer) has the equations of this one, conveyor.trace its states.",
        "recurrent_weight_dropout",
    )
    mask = get_keras_mask(x) if mask is None else mask
    x = array(x, where)
    _checks.check_input(x, flow.features, where)
    x = x.astype(np.float64)
    batch, time_steps, _ = x.shape
    sample = place(sample, "sample", batch, where)
    step = place(step, "step", time_steps, where)
    counts = np.ones(time_steps, bool)
    if mask is not None:
        ops_checks.check_mask(array(mask, where), batch, time_steps, where)
        counts = array(mask, where)[sample].astype(bool)
    start = states_at_start(layer, initial_state, sample, batch, where)
    at = (sample, step, time_steps)
    if flow.is_gru:
        h = hidden_state_before(layer, x[sample], counts, start[0], step)
        return work_out_gru(layer, flow, at, bool(counts[step]), x[sample, step], h)
    h, c = start
    h, c = _states_before(layer, x[sample], counts, h, c, step)
    return _work_out(layer, flow, at, bool(counts[step]), x[sample, step], h, c)


def _work_out(
    layer: Layer,
    flow: LayerFlow,
    at: tuple[int, int, int],
    counts: bool,
    x: Numbers,
    h: Numbers,
    c: Numbers,
) -> WorkedExample:
    joined = np.concatenate([h, x])
    weights = {
        gate: (W.astype(np.float64), None if b is None else b.astype(np.float64))
        for gate, (W, b) in gate_weights(layer).items()
    }
    squash, gate_of = layer.cell.activation, layer.cell.recurrent_activation
    if counts:
        z = {gate: W @ joined + (0 if b is None else b) for gate, (W, b) in weights.items()}
        gates = {gate: apply(squash if gate == "candidate" else gate_of, z[gate]) for gate in z}
        kept, added = gates["forget"] * c, gates["input"] * gates["candidate"]
        cell_state = kept + added
        activated = apply(squash, cell_state)
        hidden_state = gates["output"] * activated
    else:
        nothing = np.full_like(h, np.nan)
        z, gates = (dict.fromkeys(weights, nothing) for _ in range(2))
        kept = added = activated = nothing
        hidden_state, cell_state = h, c
    return WorkedExample(
        flow, *at, not counts, x, h, c, joined, weights, z, gates, kept, added,
        cell_state, activated, hidden_state,
    )  # fmt: skip


def _states_before(
    layer: Layer, x: Numbers, counts: npt.NDArray[np.bool_], h: Numbers, c: Numbers, step: int
) -> tuple[Numbers, Numbers]:
    """h and c (U,) before one step of `x` (T, F), from those before the first one read."""
    earlier = slice(step + 1, None) if layer.go_backwards else slice(step)
    if len(x[earlier]) == 0:
        return h, c
    cell = layer.cell
    weights = (cell.kernel, cell.recurrent_kernel, cell.bias)
    kernel, recurrent_kernel, bias = (
        None if w is None else _keras_ops.convert_to_numpy(w).astype(np.float64) for w in weights
    )
    hidden_state, cell_state = ops.lstm(
        x[None, earlier],
        kernel,
        recurrent_kernel,
        bias,
        hidden_state=h[None],
        cell_state=c[None],
        mask=counts[None, earlier],
        activation=cell.activation,
        recurrent_activation=cell.recurrent_activation,
        go_backwards=layer.go_backwards,
        outputs=("hidden_state", "cell_state"),
    )
    return hidden_state[0], cell_state[0]
