"""The walk of one sample through an LSTM, in words and numbers; text and HTML are made of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..layers._find import Shape
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
    gate, squash = flow.recurrent_activation, flow.activation
    units, weight = f"({flow.units},)", f"W {flow.gate_weight_shape}"
    bias = " + b_{}" if flow.use_bias else ""
    weights = f"{weight}, b {flow.gate_bias_shape}" if flow.use_bias else weight

    def learned(symbol: str, letter: str, function: str) -> str:
        return f"{symbol} = {function}(W_{letter} [h, x]{bias.format(letter)})"

    return (
        Step("input", "(batch, time_steps, features)", _input(flow), "always these three axes"),
        Step("one step", "x_t: (features,)", f"({flow.features},)", "one step of one sample"),
        Step("before it", "h_{t-1} and c_{t-1}: (units,) each", units, "zeros at the first step"),
        Step("joined", "[h, x]: (units + features,)", f"({flow.joined},)", "what each gate reads"),
        Step("forget gate", learned("f", "f", gate), weights, "how much of the old c stays"),
        Step("input gate", learned("i", "i", gate), weights, "how much of g comes in"),
        Step("candidate", learned("g", "c", squash), weights, "what could come in"),
        Step("cell state", "c_t = f * c_{t-1} + i * g", units, "the conveyor belt"),
        Step("output gate", learned("o", "o", gate), weights, "how much of c is shown"),
        Step("hidden state", f"h_t = o * {squash}(c_t)", units, "what the layer shows"),
    )


def _input(flow: LayerFlow) -> str:
    return spell((None, flow.time_steps, flow.features))


def in_one_line(flow: LayerFlow) -> str:
    """The whole walk, and the number of parameters."""
    return f"{from_shape_to_shape(flow)}; {flow.parameters:,} parameters"


def from_shape_to_shape(flow: LayerFlow) -> str:
    """The whole walk, in shapes."""
    made = " and ".join(f"{item.name} {spell(item.shape)}" for item in flow.returned)
    return f"{_input(flow)} → [h, x] ({flow.joined},) → four W {flow.gate_weight_shape} → {made}"


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
    bias = (" + units", f" + {flow.units}") if flow.use_bias else ("", "")
    return (
        f"4 * ((units + features) * units{bias[0]}) = "
        f"4 * (({flow.units} + {flow.features}) * {flow.units}{bias[1]}) = {flow.parameters:,}"
    )


def memory_of_states(flow: LayerFlow) -> tuple[str, ...]:
    """What the states of a batch take: the two that everybody asks for, then all eight."""
    size = {"float64": 8, "float32": 4}.get(flow.dtype, 2)
    return (
        f"of the states, for a batch of {_BATCH} in {flow.dtype}, {size} bytes a number:",
        f"hidden_states and cell_states: {_bytes(flow, size, 2, 0)}",
        f"all eight states: {_bytes(flow, size, 6, 2)}",
    )


def _bytes(flow: LayerFlow, size: int, with_time: int, without: int) -> str:
    """The sum for this many states (B, T, U) and (B, U), in words, in numbers, and its result."""

    def formula(time_steps: object, batch: object, units: object) -> str:
        of_time = f"{with_time} * {time_steps}"
        count = f"({of_time} + {without})" if without else of_time
        return f"{count} * {batch} * {units} * {size}"

    one, steps = _BATCH * flow.units * size, flow.time_steps
    words = formula("time_steps", "batch", "units")
    numbers = formula("time_steps" if steps is None else steps, _BATCH, flow.units)
    if steps is None:
        return f"{words} = {numbers}: {_spell_bytes(with_time * one)} each time step"
    return f"{words} = {numbers} = {_spell_bytes((with_time * steps + without) * one)}"


def _spell_bytes(count: int) -> str:
    size, unit = float(count), ""
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if size < 1024:
            break
        size, unit = size / 1024, larger
    rounded = f"{size:.3g}" if size < 1000 else f"{size:.0f}"
    return f"{count:,} bytes" + (f" ({rounded} {unit})" if unit else "")


def keras_weights(flow: LayerFlow) -> str:
    """How Keras stores the four W and b: the same numbers, packed and turned."""
    bias = f", bias {flow.bias_shape}" if flow.bias_shape else ""
    return (
        f"Keras packs them as kernel {flow.kernel_shape}, recurrent_kernel "
        f"{flow.recurrent_kernel_shape}{bias}: input, forget, candidate, output side by side."
    )


def count_steps(flow: LayerFlow) -> str:
    if flow.time_steps is None:
        return "any number of time steps"
    return f"{flow.time_steps} time step{'s' * (flow.time_steps != 1)}"


def about_units(flow: LayerFlow) -> str:
    """What `units` is, for it is the question that everybody has."""
    return (
        f"units={flow.units} is the length of h and of c, not a number of cells: "
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
        yield (
            f"It begins with states that are learned: 2 * {flow.units} of its parameters are not "
            "of the gates."
        )
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
    doubled = spell((*shape[:-1], 2 * flow.units))
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
