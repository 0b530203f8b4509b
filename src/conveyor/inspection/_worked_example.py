"""One step of an LSTM with every number on the way, to be followed with a pencil."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any, TypeAlias

import keras
import numpy as np
import numpy.typing as npt
from keras.src.backend import get_keras_mask

from .. import ops
from .._engines import glue
from .._errors import lesson
from ..layers import _checks, gate_weights
from ..ops import _checks as ops_checks
from ._describe import describe
from ._find import Layer, find_lstms, is_lstm
from ._flow import LayerFlow
from ._worked_table import as_html, as_text, as_widget

Numbers: TypeAlias = npt.NDArray[np.float64]

_keras_ops: Any = keras.ops  # Keras ships no types


@dataclass(frozen=True, eq=False)
class WorkedExample:
    """Every number of one step of one sample: print it, or let a notebook show it.

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
        sums: (U,) for each gate, W [h_{t-1}, x_t] + b.
        gates: (U,) for each gate, its activation of that sum.
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
    sums: dict[str, Numbers]
    gates: dict[str, Numbers]
    kept: Numbers
    added: Numbers
    cell_state: Numbers
    activated: Numbers
    hidden_state: Numbers

    def to_dict(self) -> dict[str, Numbers]:
        """The numbers by name, in the order of the computation: `"forget_sum"`, `"kept"`, ..."""
        return {
            "x": self.x,
            "hidden_state_before": self.hidden_state_before,
            "cell_state_before": self.cell_state_before,
            "joined": self.joined,
            **{f"{gate}_sum": numbers for gate, numbers in self.sums.items()},
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

    def __rich__(self) -> Any:
        return as_widget(self)

    def __str__(self) -> str:
        return as_text(self)

    def _repr_html_(self) -> str:
        return as_html(self)


def worked_example(
    layer: Layer,
    x: Any,
    *,
    sample: int = 0,
    step: int = 0,
    mask: Any = None,
    initial_state: Any = None,
) -> WorkedExample:
    """Every intermediate number of one time step of one sample.

    The steps before it are run by `conveyor.ops.lstm`, the step itself is worked out number by
    number, all in float64 and without dropout: what the layer computes in its own dtype, to the
    rounding of that.

    Args:
        layer: a built LSTM, of conveyor or of Keras; of a Bidirectional its `forward_layer` or
            `backward_layer`, of a model `model.get_layer(name)`.
        x: (B, T, F), the input of this layer.
        sample: which sequence of the batch, from 0; -1 is the last.
        step: which time step, from 0, as `x` has them, also for a layer that goes backwards
            (which reads the last one first); -1 is the last.
        mask: (B, T), False at steps to skip.
        initial_state: the pair [hidden_state, cell_state], (B, U) each. Without it zeros; for a
            stateful layer the states that its next call would begin with.

    Returns:
        What `print` and a notebook show as a table; its attributes and `.to_dict()` have all
        numbers of all units.

    Raises:
        ConveyorError: not one LSTM, or not built; inputs that do not fit it; a sample or a step
            that is not there.

    >>> import numpy as np
    >>> from conveyor import LSTM
    >>> layer, x = LSTM(4), np.ones((2, 5, 3), "float32")
    >>> layer.build(x.shape)
    >>> example = worked_example(layer, x, step=-1)
    >>> np.array_equal(example.cell_state, example.kept + example.added)
    True
    >>> example.gates["forget"].shape, example.sums["forget"].shape
    ((4,), (4,))
    """
    flow = _flow(layer)
    where = f'LSTM "{layer.name}" in worked_example'
    mask = get_keras_mask(x) if mask is None else mask
    x = _array(x, where)
    _checks.check_input(x, flow.features, where)
    x = x.astype(np.float64)
    batch, time_steps, _ = x.shape
    sample = _place(sample, "sample", batch, where)
    step = _place(step, "step", time_steps, where)
    counts = np.ones(time_steps, bool)
    if mask is not None:
        ops_checks.check_mask(_array(mask, where), batch, time_steps, where)
        counts = _array(mask, where)[sample].astype(bool)
    h, c = _states_at_start(layer, initial_state, sample, batch, where)
    h, c = _states_before(layer, x[sample], counts, h, c, step)
    return _work_out(
        layer, flow, (sample, step, time_steps), bool(counts[step]), x[sample, step], h, c
    )


def _work_out(
    layer: Layer,
    flow: LayerFlow,
    place: tuple[int, int, int],
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
        sums = {gate: W @ joined + (0 if b is None else b) for gate, (W, b) in weights.items()}
        gates = {
            gate: _apply(squash if gate == "candidate" else gate_of, z) for gate, z in sums.items()
        }
        kept, added = gates["forget"] * c, gates["input"] * gates["candidate"]
        cell_state = kept + added
        activated = _apply(squash, cell_state)
        hidden_state = gates["output"] * activated
    else:
        nothing = np.full_like(h, np.nan)
        sums, gates = (dict.fromkeys(weights, nothing) for _ in range(2))
        kept = added = activated = nothing
        hidden_state, cell_state = h, c
    return WorkedExample(
        flow, *place, not counts, x, h, c, joined, weights, sums, gates, kept, added,
        cell_state, activated, hidden_state,
    )  # fmt: skip


def _apply(function: Any, z: Numbers) -> Numbers:
    """An activation of Keras, or of the user's, in float64."""
    with glue.active().float64():
        value = glue.active().exact(function)(_keras_ops.convert_to_tensor(z, dtype="float64"))
        return np.asarray(_keras_ops.convert_to_numpy(value), np.float64)


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


def _states_at_start(
    layer: Layer, initial_state: Any, sample: int, batch: int, where: str
) -> tuple[Numbers, Numbers]:
    """h and c (U,) before the first step that is read."""
    if initial_state is None and layer.stateful and layer.states is not None:
        # Empty until the first call.
        initial_state = [s for s in layer.states if s.shape[0] != 0] or None
    if initial_state is None:
        zeros = np.zeros(int(layer.cell.units))
        return zeros, zeros
    _checks.check_initial_state(initial_state, batch, int(layer.cell.units), where)
    h, c = (_array(state, where)[sample].astype(np.float64) for state in initial_state)
    return h, c


def _flow(layer: Layer) -> LayerFlow:
    """The account of a layer that is one built LSTM."""
    if is_lstm(layer) and layer.built:
        return describe(layer)[0]
    if is_lstm(layer):
        got = f'"{layer.name}", which has seen no input so far: it is not built'
        write = "Write layer.build(x.shape), or call it once: layer(x)."
    elif isinstance(layer, keras.layers.Bidirectional):
        got = f'the Bidirectional "{layer.name}", which is two'
        write = "Write worked_example(layer.forward_layer, x), or layer.backward_layer."
    elif isinstance(layer, keras.Model):
        got = f'the {type(layer).__name__} "{layer.name}"'
        write = f"Write worked_example({_way_to_first(layer)}, x) with x the input of that layer."
    else:
        got = type(layer).__name__
        write = "Write layer = conveyor.LSTM(4); layer(x); worked_example(layer, x)."
    raise lesson("worked_example", "one LSTM layer with its weights", got, write)


def _way_to_first(model: Layer) -> str:
    """The expression that gives the first LSTM of a model."""
    way, inner = "model", model
    for name in find_lstms(model)[0].path.split("/") if find_lstms(model) else ["..."]:
        if isinstance(inner, keras.layers.Bidirectional):
            return f"{way}.forward_layer"
        if not isinstance(inner, keras.Model):
            break
        way += f'.get_layer("{name}")'
        inner = next((child for child in inner.layers if child.name == name), None)
    return way


def _array(value: Any, where: str) -> npt.NDArray[Any]:
    _checks.check_is_array(value, where)
    ops_checks.check_framework({"x": value}, where)
    return value if isinstance(value, np.ndarray) else _keras_ops.convert_to_numpy(value)


def _place(index: Any, name: str, length: int, where: str) -> int:
    """`index` counted from 0, where a negative one counts from the end."""
    try:
        place = operator.index(index)
    except TypeError:
        place = length
    if not -length <= place < length:
        raise lesson(
            where,
            f"{name} to be a whole number from 0 to {length - 1}, or from -{length} to -1",
            f"{name}={index!r}",
            f"Write {name}=0 for the first, {name}=-1 for the last.",
        )
    return place % length
