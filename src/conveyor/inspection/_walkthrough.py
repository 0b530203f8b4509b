"""The walk of one sample through a layer, in words and numbers; text and HTML are made of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..layers._find import Shape
from . import _gru_walk, _variant_walk
from ._flow import LayerFlow

_ORDINARY = ("hidden_state", "cell_state")
_BATCH = 32  # the usual one


@dataclass(frozen=True)
class Step:
    """One station of the walk.

    Attributes:
        what: what it is called.
        rule: how it comes about, or its axes in words.
        shape: its shape with the numbers of this layer.
        means: what it is good for, in a few words.
    """

    what: str
    rule: str
    shape: str
    means: str


def walk(flow: LayerFlow) -> tuple[Step, ...]:
    """From the input array to the hidden state, the stations in the order of the computation."""
    if flow.is_gru:
        return tuple(Step(*row) for row in _gru_walk.walk(flow, _input(flow)))
    gate, squash = flow.recurrent_activation, flow.activation
    shown = flow.output_activation or squash
    v, hidden = flow.variant, "units" if flow.variant.projection is None else "projection"
    units, weight = f"({flow.units},)", f"W {flow.gate_weight_shape}"
    weights = f"{weight}, b {flow.gate_bias_shape}" if flow.use_bias else weight
    states, sizes = "h_{t-1} and c_{t-1}: (units,) each", units
    if v.projection is not None:
        states = "h_{t-1}: (projection,), c_{t-1}: (units,)"
        sizes = f"({flow.hidden_size},), {units}"
    bound = "" if v.cell_clip is None else f", within [-{v.cell_clip:g}, {v.cell_clip:g}]"
    out, last = _variant_walk.way_out(flow)
    start = "what was learned" if flow.learned_states else "zeros at the first step"

    def learned(symbol: str, letter: str, function: str) -> str:
        return f"{symbol} = {function}({_variant_walk.preactivation(flow, letter)})"

    def let_in() -> Step:
        if v.coupled:
            return Step("input gate", "i = 1 - f", units, "what is forgotten makes room")
        return Step("input gate", learned("i", "i", gate), weights, "how much of g comes in")

    peephole = flow.more_weights.get("peephole_kernel")
    rows = (
        Step("input", "(batch, time_steps, features)", _input(flow), "always these three axes"),
        Step("one step", "x_t: (features,)", f"({flow.features},)", "one step of one sample"),
        Step("before it", states, sizes, start),
        Step("joined", f"[h, x]: ({hidden} + features,)", f"({flow.joined},)", _READ),
        *(Step(*row) for row in _variant_walk.before_the_gates(flow)),
        Step("forget gate", learned("f", "f", gate), weights, "how much of the old c stays"),
        let_in(),
        Step("candidate", learned("g", "c", squash), weights, "what could come in"),
        Step("cell state", f"c_t = f * c_{{t-1}} + i * g{bound}", units, "the conveyor belt"),
        Step("output gate", learned("o", "o", gate), weights, "how much of c is shown"),
        *([Step("peepholes", "p of the gates", f"p {peephole}", _SEEN)] if peephole else []),
        *(Step(*row) for row in out),
        Step(*_variant_walk.shown(flow, f"o * {shown}({last})")),
        *(Step(*row) for row in _variant_walk.after_the_step(flow)),
    )
    return rows


_READ, _SEEN = "what each gate reads", "what the gates see of c"


def _input(flow: LayerFlow) -> str:
    return spell((None, flow.time_steps, flow.features))


def in_one_line(flow: LayerFlow) -> str:
    """The whole walk, and the number of parameters."""
    return f"{from_shape_to_shape(flow)}; {flow.parameters:,} parameters"


def from_shape_to_shape(flow: LayerFlow) -> str:
    """The whole walk, in shapes."""
    made = " and ".join(f"{item.name} {spell(item.shape)}" for item in flow.returned)
    count = {3: "three", 4: "four"}[flow.gates]
    return f"{_input(flow)} → [h, x] ({flow.joined},) → {count} W {flow.gate_weight_shape} → {made}"


def spell(shape: Shape) -> str:
    """A shape with the axes that are free by their names: `(batch, time_steps, 64)`."""
    free = ("batch", "time_steps")
    axes = (free[place] if size is None else str(size) for place, size in enumerate(shape))
    return f"({', '.join(axes)})"


def returned(flow: LayerFlow) -> tuple[str, ...]:
    """One line for each tensor that the layer returns, in order."""
    return tuple(f"{item.name} {spell(item.shape)}, by {item.because}" for item in flow.returned)


def parameter_sum(flow: LayerFlow) -> str:
    """The number of parameters: the formula, with the numbers put in, and its result."""
    if flow.is_gru:
        return _gru_walk.parameter_sum(flow)
    bias = (" + units", f" + {flow.units}") if flow.use_bias else ("", "")
    gates, projected = flow.gates, flow.variant.projection is not None
    more = [*_variant_walk.formula_of_more(flow)]
    words, numbers = (
        "".join(f" + {term}" for term in terms)
        for terms in (zip(*more, strict=True) if more else ("", ""))
    )
    return (
        f"{gates} * (({'projection' if projected else 'units'} + features) * units{bias[0]})"
        f"{words} = {gates} * (({flow.hidden_size} + {flow.features}) * {flow.units}{bias[1]})"
        f"{numbers} = {flow.parameters:,}"
    )


def memory_of_states(flow: LayerFlow) -> tuple[str, ...]:
    """What the states of a batch take: the two that everybody asks for, then all eight.

    Of a GRU the one, then all five.
    """
    size = {"float64": 8, "float32": 4}.get(flow.dtype, 2)
    head = f"of the states, for a batch of {_BATCH} in {flow.dtype}, {size} bytes a number:"
    if flow.is_gru:
        return (
            head,
            f"hidden_states: {_bytes(flow, size, 1, 0)}",
            f"all five states: {_bytes(flow, size, 4, 1)}",
        )
    return (
        head,
        f"hidden_states and cell_states: {_bytes(flow, size, 2, 0)}",
        f"all eight states: {_bytes(flow, size, 6, 2)}",
    )


def _bytes(flow: LayerFlow, size: int, with_time: int, without: int) -> str:
    """The sum for this many states (B, T, U) and (B, U), in words, in numbers, and its result."""

    def formula(time_steps: object, batch: object, units: object, hidden: object) -> str:
        if flow.hidden_size != flow.units:
            of_time = f"{time_steps} * ({hidden} + {with_time - 1} * {units})"
            count = f"({of_time} + {hidden} + {units})" if without else of_time
            return f"{count} * {batch} * {size}"
        of_time = f"{with_time} * {time_steps}" if with_time > 1 else str(time_steps)
        count = f"({of_time} + {without})" if without else of_time
        return f"{count} * {batch} * {units} * {size}"

    steps, each = flow.time_steps, _BATCH * size
    of_step = each * (flow.hidden_size + (with_time - 1) * flow.units)
    words = formula("time_steps", "batch", "units", "projection")
    given = "time_steps" if steps is None else steps
    numbers = formula(given, _BATCH, flow.units, flow.hidden_size)
    if steps is None:
        return f"{words} = {numbers}: {_spell_bytes(of_step)} each time step"
    last = each * (flow.hidden_size + (without - 1) * flow.units) if without else 0
    return f"{words} = {numbers} = {_spell_bytes(steps * of_step + last)}"


def _spell_bytes(count: int) -> str:
    size, unit = float(count), ""
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if size < 1024:
            break
        size, unit = size / 1024, larger
    rounded = f"{size:.3g}" if size < 1000 else f"{size:.0f}"
    return f"{count:,} bytes" + (f" ({rounded} {unit})" if unit else "")


def keras_weights(flow: LayerFlow) -> str:
    """How Keras stores W and b of the gates: the same numbers, packed and turned."""
    bias = f", bias {flow.bias_shape}" if flow.bias_shape else ""
    more = ", ".join(f"{name} {shape}" for name, shape in flow.more_weights.items())
    more = f" Behind them: {more}." if more else ""
    packed = f"{'' if flow.variant.coupled else 'input, '}forget, candidate, output"
    if flow.is_gru:
        packed = "update, reset, candidate"
    return (
        f"Keras packs them as kernel {flow.kernel_shape}, recurrent_kernel "
        f"{flow.recurrent_kernel_shape}{bias}: {packed} side by side.{more}"
    )


def count_steps(flow: LayerFlow) -> str:
    if flow.time_steps is None:
        return "any number of time steps"
    return f"{flow.time_steps} time step{'s' * (flow.time_steps != 1)}"


def about_units(flow: LayerFlow) -> str:
    """What `units` is, for it is the question that everybody has."""
    both = "h and of c" if flow.variant.projection is None else "c"
    both = "h" if flow.is_gru else both
    return (
        f"units={flow.units} is the length of {both}, not a number of cells: "
        f"one cell takes {count_steps(flow)}, one after the other."
    )


def notes(flow: LayerFlow) -> Iterator[str]:
    """What confuses people about a layer like this one, and nothing else."""
    names = tuple(item.name for item in flow.returned)
    if flow.in_stack and flow.outputs is None and len(names) == 3:
        yield (
            "return_state=True puts the states of every layer and direction behind the output: h, "
            "c, h, c, ... from the lowest layer on; layer.torch_states(states) orders them as "
            "torch.nn.LSTM does."
        )
    elif flow.outputs is None and len(names) == 3:
        yield (
            "return_state=True makes Keras return three tensors, not two: output, hidden_state, "
            'cell_state. The article "Everything you need to know about LSTMs in Keras" unpacks '
            f"two; conveyor.LSTM({flow.units}, outputs={_ORDINARY}) returns those two."
        )
        if names[0] == "hidden_states":
            yield (
                "The output holds every step because return_sequences=True is there too; "
                "the article's code for this case leaves it out."
            )
        else:
            yield "Without return_sequences=True the output is the hidden_state once more."
    if flow.learned_states:
        states = str(flow.units) if flow.is_gru else f"2 * {flow.units}"
        if flow.hidden_size != flow.units:
            states = f"{flow.hidden_size} + {flow.units}"
        yield (
            f"It begins with states that are learned: {states} of its parameters are not of the "
            "gates."
        )
    yield from _gru_walk.notes(flow) if flow.is_gru else _variant_walk.notes(flow)
    if flow.direction == "backward":
        yield (
            "This direction reads the last time step first"
            + (
                ", and hands out its states in that order."
                if flow.merge_mode is None and "hidden_states" in names
                else "."
            )
        )
    if flow.merge_mode is not None:
        yield _merged(flow)


def _merged(flow: LayerFlow) -> str:
    """What becomes of the outputs of two directions."""
    shape = flow.returned[0].shape
    doubled = spell((*shape[:-1], 2 * (shape[-1] or 0)))
    result = {
        "concat": f"side by side: {doubled}",
        "sum": f"added: {spell(shape)}",
        "mul": f"multiplied: {spell(shape)}",
        "ave": f"averaged: {spell(shape)}",
        "list": f"as two tensors of {spell(shape)}",
    }[flow.merge_mode or "list"]
    if flow.in_stack:
        return f"bidirectional=True gives the outputs of both directions {result}."
    if len(flow.returned) == 1:
        return f"Bidirectional gives the outputs of both directions {result}."
    return (
        f"Bidirectional gives the first outputs of both directions {result}; the other tensors "
        "follow, those of forward before those of backward."
    )
