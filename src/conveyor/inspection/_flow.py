"""What goes into an LSTM, what happens to its shape, and what comes out: as plain data."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .._vocabulary import StateName
from ..layers._find import Direction, Shape
from ..layers._variant import PLAIN, CellVariant, weight_shapes


@dataclass(frozen=True)
class Returned:
    """One tensor that the layer returns.

    Attributes:
        name: which state it is, in the words of conveyor.
        shape: (B, T, U) or (B, U); `None` where any number goes.
        because: the argument that asked for it, `return_sequences=True` or `outputs=...`.
    """

    name: StateName
    shape: Shape
    because: str


@dataclass(frozen=True)
class LayerFlow:
    """The flow of data through one LSTM, in numbers.

    Attributes:
        name: the path of the layer below the model, `encoder` or `bidirectional/forward_lstm`.
        class_name: the class as the user writes it, `conveyor.LSTM` or `keras.layers.LSTM`.
        direction: which way it reads the time steps.
        merge_mode: how Bidirectional joins it with the other direction; `None` outside of one.
        time_steps: T, `None` where the layer takes any number of steps.
        features: F, the length of x_t.
        units: U, the length of the hidden state and of the cell state.
        use_bias: whether the gates have a bias.
        activation: the name of the function on the candidate and on the way to h, `tanh`.
        recurrent_activation: the name of the function on the three gates, `sigmoid`.
        returned: what the layer returns, in order.
        outputs: the names given as `outputs=`; `None` where Keras's two flags decide.
        dtype: of the states, as the layer computes them.
        learned_states: whether the states before the first step are weights.
        in_stack: whether it is one layer and direction of a `conveyor.LSTM` of several.
        variant: what it has beyond the plain LSTM.
        output_activation: the name of the function on the way to h; None for `activation`.
    """

    name: str
    class_name: str
    direction: Direction
    merge_mode: str | None
    time_steps: int | None
    features: int
    units: int
    use_bias: bool
    activation: str
    recurrent_activation: str
    returned: tuple[Returned, ...]
    outputs: tuple[StateName, ...] | None
    dtype: str = "float32"
    learned_states: bool = False
    in_stack: bool = False
    variant: CellVariant = PLAIN
    output_activation: str | None = None

    @property
    def hidden_size(self) -> int:
        """The length of the hidden state: U, or that of the projection."""
        return self.units if self.variant.projection is None else self.variant.projection

    @property
    def joined(self) -> int:
        """The length of [h_{t-1}, x_t], which every gate reads: U + F."""
        return self.hidden_size + self.features

    @property
    def kernel_shape(self) -> tuple[int, int]:
        """(F, 4U), as Keras stores it: input, forget, candidate, output."""
        return self.features, self.variant.gates * self.units

    @property
    def recurrent_kernel_shape(self) -> tuple[int, int]:
        """(U, 4U), likewise."""
        return self.hidden_size, self.variant.gates * self.units

    @property
    def bias_shape(self) -> tuple[int] | None:
        """(4U,), likewise; `None` without bias."""
        return (self.variant.gates * self.units,) if self.use_bias else None

    @property
    def gate_weight_shape(self) -> tuple[int, int]:
        """(U, U + F): W of one gate as articles write it, applied to [h_{t-1}, x_t]."""
        return self.units, self.joined

    @property
    def gate_bias_shape(self) -> tuple[int] | None:
        """(U,): b of one gate; `None` without bias."""
        return (self.units,) if self.use_bias else None

    @property
    def more_weights(self) -> dict[str, tuple[int, ...]]:
        """The shapes of the weights beyond the plain LSTM, in the order in which they are kept."""
        return weight_shapes(self.variant, self.units)

    @property
    def parameters(self) -> int:
        """4 * ((U + F) * U + U), without the last U where there is no bias, and what is beyond.

        And 2 * U where the states before the first step are learned.
        """
        gates = self.variant.gates * (self.joined * self.units + self.units * self.use_bias)
        more = sum(math.prod(shape) for shape in self.more_weights.values())
        return gates + more + (self.hidden_size + self.units) * self.learned_states
