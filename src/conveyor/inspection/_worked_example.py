"""One step of a layer with every number on the way, to be followed with a pencil."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from keras.src.backend import get_keras_mask
from rich.console import RenderableType

from ..layers import _checks, gate_weights
from ..layers._find import Layer
from ..ops import _checks as ops_checks
from ._flow import LayerFlow
from ._printed import Printed
from ._worked_before import arguments_of, read, states_before
from ._worked_gru import WorkedGRUExample, hidden_state_before, work_out_gru
from ._worked_inputs import Numbers, array, flow_of, place, states_at_start
from ._worked_step import as_skipped, work_out
from ._worked_table import as_table


@dataclass(frozen=True, eq=False)
class WorkedExample(Printed):
    """Every number of one step of an LSTM on one sample: print it, or let a notebook show it.

    The four gates go by the names of `gate_weights()`: "input", "forget", "candidate", "output".
    At a masked step nothing is computed: what lies between the states is NaN. Beyond the plain LSTM
    the hidden state may have another size H, and `more` holds what is computed besides.

    Attributes:
        flow: the layer in words and shapes.
        sample, step: which; `step` is the place in the sequence as it was given, from 0.
        time_steps: T.
        masked: whether the layer skips this step.
        x: (F,) the input of the step.
        hidden_state_before, cell_state_before: (H,) and (U,), h_{t-1} and c_{t-1}; H is U without
            a projection.
        joined: (H + F,) [h_{t-1}, x_t].
        weights: W (U, H + F) and b (U,) of each gate; coupled gates have none of the input gate.
        preactivations: (U,) for each gate, of which it is the activation: z = W [h_{t-1}, x_t] + b,
            with layer normalisation, peephole and clip where the layer has them. Coupled gates have
            none of the input gate, which is 1 - f.
        gates: (U,) for each gate, its activation of z.
        kept: (U,) f * c_{t-1}.
        added: (U,) i * g.
        cell_state: (U,) c_t, the sum of both; as the next step has it, within `cell_clip` and after
            `zoneout`.
        activated: (U,) what is shown of c_t, `tanh(c_t)`.
        hidden_state: (H,) h_t, the output gate times that; behind projection and `zoneout`.
        more: of a variant alone, in the order of the computation, (U,) each: "forget_product",
            W [h, x], and "forget_normalised" with `layer_norm="gates"`; with "joint" both followed
            by "_of_x" and "_of_h"; "forget_peephole", p * c; "forget_unclipped", z before `clip`;
            the other gates likewise; "unclipped_cell_state", before `cell_clip`; "normalised" with
            `layer_norm="cell"`; "transformed", W5 and b5 on that; "let_out", what a projection is
            of; "new_cell_state" and "new_hidden_state" (H,), before `zoneout`.
        more_weights: the weights beyond W and b, as Keras names them, "peephole_kernel".
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
    more: dict[str, Numbers] = field(default_factory=dict)
    more_weights: dict[str, Numbers] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Numbers]:
        """The numbers by name, in the order of the computation: `"forget_gate"`, `"kept"`, ..."""

        def more(*names: str) -> dict[str, Numbers]:
            return {name: self.more[name] for name in names if name in self.more}

        return {
            "x": self.x,
            "hidden_state_before": self.hidden_state_before,
            "cell_state_before": self.cell_state_before,
            "joined": self.joined,
            **more(*(name for name in self.more if name.startswith(tuple(self.weights)))),
            **{f"{gate}_preactivation": z for gate, z in self.preactivations.items()},
            **{
                f"{gate}_gate".replace("candidate_gate", "candidate"): numbers
                for gate, numbers in self.gates.items()
            },
            "kept": self.kept,
            "added": self.added,
            **more("unclipped_cell_state", "new_cell_state"),
            "cell_state": self.cell_state,
            **more("normalised", "transformed"),
            "activated": self.activated,
            **more("let_out", "new_hidden_state"),
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
    own dtype, to the rounding of that. All that `conveyor.LSTM` may have beyond the plain LSTM is
    worked out, too; `zoneout` is the mean that it is at inference.

    Args:
        layer: a built LSTM or GRU, of conveyor or of Keras; of a Bidirectional its
            `forward_layer` or `backward_layer`, of a model `model.get_layer(name)`.
        x: (B, T, F), the input of this layer.
        sample: which sequence of the batch, from 0; -1 is the last.
        step: which time step, from 0, as `x` has them, also for a layer that goes backwards
            (which reads the last one first); -1 is the last.
        mask: (B, T), False at steps to skip.
        initial_state: the pair [hidden_state, cell_state], (B, H) and (B, U); of a GRU the hidden
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
    >>> layer = LSTM(4, projection=2, peephole=True)
    >>> layer.build(x.shape)
    >>> example = worked_example(layer, x, step=1)
    >>> sorted(example.more), example.hidden_state.shape
    (['forget_peephole', 'input_peephole', 'let_out', 'output_peephole'], (2,))
    """
    flow = flow_of(layer)
    where = f'{"GRU" if flow.is_gru else "LSTM"} "{layer.name}" in worked_example'
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
    given = arguments_of(layer.cell)
    h, c = states_before(layer, given, x[sample], counts, start, step)
    weights = {
        gate: (W.astype(np.float64), None if b is None else b.astype(np.float64))
        for gate, (W, b) in gate_weights(layer).items()
    }
    masked, x_t = not counts[step], x[sample, step]
    worked = work_out(given, weights, np.zeros_like(x_t) if masked else x_t, h, c)
    if masked:
        worked = as_skipped(worked, h, c)
    more_weights = {name: read(getattr(layer.cell, name)) for name in flow.more_weights}
    joined = np.concatenate([h, x_t])
    return WorkedExample(
        flow, *at, masked, x_t, h, c, joined, weights, **worked._asdict(), more_weights=more_weights
    )
